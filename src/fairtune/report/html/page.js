"use strict";
// Sorts tables, folds seeds, shows what stands behind a number, and compares two runs item by item.
// Without it every table and figure is there all the same.

const root = document.documentElement;
root.classList.add("js");
const $ = (id) => document.getElementById(id);

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined && text !== null) element.textContent = text;
  return element;
}

// --- light and dark -------------------------------------------------------------------------------------------------

function setUpTheme() {
  const button = $("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const say = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; say(); });
  dark.addEventListener("change", say);
  button.hidden = false;
  say();
}

// --- tables ---------------------------------------------------------------------------------------------------------

function keyOf(unit, column) {
  const row = unit.matches("tbody") ? unit.rows[0] : unit;
  const cell = row.cells[column];
  if (!cell) return null;
  const text = "sort" in cell.dataset ? cell.dataset.sort : cell.textContent.trim();
  if (text === "" || text === "–") return null;
  const number = Number("sort" in cell.dataset ? text : text.replace(/[, ]/g, ""));
  return Number.isNaN(number) ? text.toLowerCase() : number;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortTable(table, column, direction) {
  const grouped = "groups" in table.dataset;
  const units = grouped ? [...table.tBodies] : [...table.tBodies[0].rows];
  const home = grouped ? table : table.tBodies[0];
  const keyed = units.map((unit) => [keyOf(unit, column), unit]);
  const sign = direction === "ascending" ? 1 : -1;
  // What is missing is neither large nor small: it comes last both ways.
  keyed.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : sign * compare(a, b)));
  home.append(...keyed.map(([, unit]) => unit));
}

function setUpSorting(table) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    const button = make("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const first = head.dataset.first || "ascending";
      const next = now === "none" ? first : now === "ascending" ? "descending" : "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", next);
      sortTable(table, column, next);
    });
  });
}

// So many lines can still be looked over; of more, those of one metric are shown first.
const MANY = 40;

function setUpPairs() {
  const form = $("pair-choices");
  if (!form) return;
  const rows = [...document.querySelector(".pairs").tBodies[0].rows];
  const fields = { metric: $("pair-metric"), family: $("pair-family") };
  const show = () => rows.forEach((row) => {
    row.hidden = Object.entries(fields).some(([name, field]) => field.value && row.dataset[name] !== field.value);
  });
  if (rows.length > MANY) fields.metric.selectedIndex = 1;
  Object.values(fields).forEach((field) => field.addEventListener("change", show));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = rows.length < 2;
  show();
}

function setUpFolding(body, index) {
  const seeds = body.querySelectorAll(".seed:not(.failed)");
  if (!seeds.length) return;
  const label = body.querySelector(".lead .seeds");
  const button = make("button", "fold", label.textContent);
  button.type = "button";
  button.setAttribute("aria-expanded", "false");
  button.setAttribute("aria-controls", [...seeds].map((row, at) => (row.id = `seed-${index}-${at}`)).join(" "));
  button.addEventListener("click", () => {
    button.setAttribute("aria-expanded", String(body.classList.toggle("open")));
  });
  label.replaceChildren(button);
}

// --- what stands behind a number ------------------------------------------------------------------------------------

let shown = null; // { button, tip, pinned }

function hideTip() {
  if (!shown) return;
  shown.tip.hidePopover();
  shown.button.setAttribute("aria-expanded", "false");
  shown = null;
}

function place({ button, tip }) {
  const at = button.getBoundingClientRect();
  tip.style.maxHeight = "none";
  const { width, height } = tip.getBoundingClientRect();
  // Where there is more room, and never over the number itself; a note that is longer than that is scrolled.
  const above = at.top - 16, under = innerHeight - at.bottom - 16;
  const below = height <= under || under >= above;
  const high = Math.min(height, below ? under : above);
  tip.style.maxHeight = `${high}px`;
  tip.style.left = `${Math.max(12, Math.min(at.right - width, innerWidth - width - 12))}px`;
  tip.style.top = `${below ? at.bottom + 8 : at.top - high - 8}px`;
}

function showTip(button, tip, pinned) {
  if (shown && shown.tip === tip) { shown.pinned = shown.pinned || pinned; return; }
  hideTip();
  tip.showPopover();
  button.setAttribute("aria-expanded", "true");
  shown = { button, tip, pinned };
  place(shown);
}

// A note that was asked for goes along with its number, as long as that can be seen.
function follow() {
  if (!shown) return;
  const { top, bottom } = shown.button.getBoundingClientRect();
  if (shown.pinned && bottom > 0 && top < innerHeight) place(shown);
  else hideTip();
}

function setUpTip(button) {
  const tip = $(button.getAttribute("popovertarget"));
  if (!tip || !tip.showPopover) return;
  button.removeAttribute("popovertarget");
  tip.setAttribute("popover", "manual");
  button.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") showTip(button, tip, false); });
  button.addEventListener("pointerleave", () => { if (shown && !shown.pinned) hideTip(); });
  button.addEventListener("click", () => {
    if (shown && shown.tip === tip && shown.pinned) hideTip();
    else showTip(button, tip, true);
  });
}

function setUpTips() {
  document.querySelectorAll("button.gain").forEach(setUpTip);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
  document.addEventListener("pointerdown", (event) => {
    if (shown && !shown.tip.contains(event.target) && !shown.button.contains(event.target)) hideTip();
  });
  document.addEventListener("scroll", follow, { capture: true, passive: true });
}

// --- items ----------------------------------------------------------------------------------------------------------

const FIRST = 8;
const MORE = 20;
const MOST_WORDS = 400;
const [ID, PROMPT, REFERENCE, OUTPUTS, SCORES] = [0, 1, 2, 3, 4];

// Words and signs, each with the space before it.
function words(text) { return text.match(/\s*[\p{L}\p{N}_]+|\s*[^\s\p{L}\p{N}_]|\s+$/gu) || []; }

// Which words of each text are no part of a longest common subsequence.
function different(first, second) {
  const a = words(first), b = words(second);
  const bare = [a, b].map((parts) => parts.map((part) => part.trim()));
  const marks = [a.map(() => true), b.map(() => true)];
  if (a.length > MOST_WORDS || b.length > MOST_WORDS) return { a, b, marks: [a.map(() => false), b.map(() => false)] };
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      table[i][j] = bare[0][i] === bare[1][j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
    }
  }
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (bare[0][i] === bare[1][j]) { marks[0][i++] = false; marks[1][j++] = false; }
    else if (table[i + 1][j] >= table[i][j + 1]) i++;
    else j++;
  }
  return { a, b, marks };
}

function marked(parts, marks) {
  const found = document.createDocumentFragment();
  for (let at = 0; at < parts.length;) {
    let end = at;
    while (end < parts.length && marks[end] === marks[at]) end++;
    const text = parts.slice(at, end).join("");
    const start = text.trimStart();
    found.append(text.slice(0, text.length - start.length), marks[at] && start ? make("mark", "", start) : start);
    at = end;
  }
  return found;
}

function digits(value) {
  const size = Math.abs(value);
  if (size >= 1000) return value.toPrecision(4);
  return value.toFixed(size < 1 ? 3 : size < 10 ? 2 : 1);
}

function signed(value) { return value === 0 ? "0" : (value < 0 ? "−" : "+") + digits(Math.abs(value)); }

class Items {
  constructor(data, [a, b, metric]) {
    this.data = data;
    this.filter = "better";
    this.limit = FIRST;
    this.fields = { a: $("run-a"), b: $("run-b"), metric: $("by-metric"), against: $("against") };
    this.fields.a.value = a; this.fields.b.value = b; this.fields.metric.value = metric;
    Object.values(this.fields).forEach((field) => field.addEventListener("change", () => { this.limit = FIRST; this.show(); }));
    $("browser").querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    $("more").addEventListener("click", () => { this.limit += MORE; this.show(); });
    this.show(true);
    $("browser").hidden = false;
    $("needs-script").hidden = true;
  }

  read() {
    const { a, b, metric } = this.fields;
    this.a = Number(a.value); this.b = Number(b.value); this.metric = Number(metric.value);
    this.about = this.data.metrics[this.metric];
    // Where neither way is better, more is shown as if it were, and called higher.
    this.way = this.about.higher === false ? -1 : 1;
    this.names = this.about.higher === null ? { better: "higher", worse: "lower" } : { better: "better", worse: "worse" };
    this.changes = [];
    for (const item of this.data.items) {
      const first = item[SCORES][this.metric][this.a], second = item[SCORES][this.metric][this.b];
      if (first === null || second === null) continue;
      const gap = second - first;
      const same = Math.abs(gap) <= 1e-9 * Math.max(1, Math.abs(first), Math.abs(second));
      const kind = same ? "same" : gap * this.way > 0 ? "better" : "worse";
      this.changes.push({ item, first, second, gap: same ? 0 : gap, kind });
    }
    this.changes.sort((x, y) => Math.abs(y.gap) - Math.abs(x.gap));
  }

  // Of all items, which may be more than are here.
  counts() {
    const found = { better: 0, worse: 0, same: 0 };
    if (this.data.counts && this.a !== this.b) {
      const [low, high] = [Math.min(this.a, this.b), Math.max(this.a, this.b)];
      const [up, down, same] = this.data.counts[this.metric][`${low},${high}`];
      const flip = (low === this.a) === (this.way > 0);
      return { better: flip ? up : down, worse: flip ? down : up, same };
    }
    this.changes.forEach(({ kind }) => { found[kind] += 1; });
    return found;
  }

  show(first = false) {
    this.read();
    const counts = this.counts();
    if (first && !counts.better) this.filter = counts.worse ? "worse" : "all";
    this.showCounts(counts);
    const kept = this.changes.filter(({ kind }) => this.filter === "all" || kind === this.filter);
    const list = kept.slice(0, this.limit);
    $("list").replaceChildren(...list.map((change) => this.entry(change)));
    $("more").hidden = kept.length <= this.limit;
    $("said").textContent = this.said(kept.length, list.length);
  }

  said(kept, listed) {
    if (this.a === this.b) return "The same run twice: choose another.";
    if (!this.changes.length) return "These two runs have no scored item in common.";
    if (!kept) return "No such item.";
    return `${listed.toLocaleString("en")} of ${kept.toLocaleString("en")} items, the largest change first.`;
  }

  showCounts(counts) {
    const all = counts.better + counts.worse + counts.same;
    $("share").replaceChildren(...["better", "same", "worse"].filter((kind) => counts[kind]).map((kind) => {
      const part = make("i", kind);
      part.style.flexGrow = counts[kind];
      return part;
    }));
    $("filters").replaceChildren(...["better", "same", "worse", "all"].map((kind) => {
      const number = kind === "all" ? all : counts[kind];
      const button = make("button", "", `${this.names[kind] || kind} ${number.toLocaleString("en")}`);
      button.type = "button";
      button.dataset.kind = kind;
      button.setAttribute("aria-pressed", String(kind === this.filter));
      button.addEventListener("click", () => {
        this.filter = kind;
        this.limit = FIRST;
        this.show();
        document.querySelector(`#filters [data-kind="${kind}"]`).focus();
      });
      return button;
    }));
  }

  entry({ item, first, second, gap, kind }) {
    const entry = make("li");
    const header = make("header");
    const sign = { better: this.about.higher === null ? "△" : "▲", worse: this.about.higher === null ? "▽" : "▼", same: "=" }[kind];
    const tone = this.about.higher === null ? "" : ` ${kind}`;
    header.append(make("span", `change${tone}`, kind === "same" ? "= same" : `${sign} ${signed(gap)}`));
    header.append(make("span", "", `${digits(first)} → ${digits(second)}`), make("code", "", item[ID]));
    entry.append(header);
    if (item[PROMPT]) entry.append(make("p", "asked", item[PROMPT]));
    entry.append(this.texts(item));
    return entry;
  }

  texts(item) {
    const list = make("dl", "texts");
    const line = (className, name, ...texts) => {
      const row = make("div", className), said = make("dd");
      said.append(...texts);
      row.append(make("dt", "", name), said);
      list.append(row);
    };
    if (item[REFERENCE]) line("reference", "reference", item[REFERENCE]);
    const [one, two] = [item[OUTPUTS][this.a], item[OUTPUTS][this.b]];
    const [firstName, secondName] = [this.data.runs[this.a], this.data.runs[this.b]];
    const toReference = this.fields.against.value === "reference" && item[REFERENCE];
    const show = (className, name, text, parts, marks) => {
      if (text !== null) line(className, name, text ? marked(parts, marks) : "(nothing)");
    };
    if (toReference) {
      for (const [name, text] of [[firstName, one], [secondName, two]]) {
        const found = different(item[REFERENCE], text || "");
        show("", name, text, found.b, found.marks[1]);
      }
    } else {
      const found = different(one || "", two || "");
      const mark = one !== null && two !== null;
      show("first", firstName, one, found.a, mark ? found.marks[0] : found.a.map(() => false));
      show("second", secondName, two, found.b, mark ? found.marks[1] : found.b.map(() => false));
    }
    return list;
  }
}

// --- all of it ------------------------------------------------------------------------------------------------------

setUpTheme();
document.querySelectorAll("table[data-sortable]").forEach(setUpSorting);
document.querySelectorAll("table[data-groups] tbody").forEach(setUpFolding);
setUpPairs();
setUpTips();
if ($("items-data")) new Items(JSON.parse($("items-data").textContent), JSON.parse($("items-first").textContent));
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
