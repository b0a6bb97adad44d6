// The page of `mlc-dask interpret`: a point at a time, an answer for each of its years, on disk before the next point.

import { ask, draw, get, make } from "./page.js";

const KEYS = [..."123456789abcdefghijklmnopqrstuvwxyz"];
const SURROUNDINGS = [64, 32, 16]; // pixels along the edge of a chip
const CHIP = { least: 50, usual: 62, most: 132, gap: 5 };
const COLOURS = {
  ndvi: "#63c466", evi: "#b5d33d", ndwi: "#4aa3ff", ndsi: "#7fe3e0", soil: "#d59a5c",
  B02: "#4a86ff", B03: "#45b36b", B04: "#ff5f5f", B05: "#ff9b70", B06: "#ffb8a0", B07: "#e8a0d8",
  B08: "#c58bff", B8A: "#9d7bea", B11: "#e0b040", B12: "#b07a2a",
};
const NAMES = { ndvi: "NDVI", evi: "EVI", ndwi: "NDWI", ndsi: "NDSI", soil: "bare soil" };

const state = {
  sample: null, at: 0, point: null, sheets: [], selected: null, busy: true, drafts: new Map(), kept: new Map(),
  colours: "both", around: 64, hidden: new Set(), here: null,
};

const remember = (name, value) => localStorage.setItem(`mlc-dask-interpret-${name}`, JSON.stringify(value));
const recall = (name, otherwise) => JSON.parse(localStorage.getItem(`mlc-dask-interpret-${name}`)) ?? otherwise;
const swatch = (colour) => make("i", { className: "swatch", style: { background: colour } });
const message = (text) => { get("message").textContent = text; };

// Answers

const id = () => state.sample.points[state.at];
const years = () => state.sample.years.map((year) => year.year);
const saved = (point) => state.sample.answers[point] ?? {};
const whole = (answers) => years().every((year) => answers[year]);
const answered = () => state.sample.points.filter((point) => whole(saved(point))).length;

/** What is told of the point that is shown, and the states before each change of it. */
function draft() {
  if (!state.drafts.has(id())) state.drafts.set(id(), { answers: { ...saved(id()) }, before: [] });
  return state.drafts.get(id());
}

const chosen = (on) => (state.selected === null ? years() : years().filter((y) => (on ? y >= state.selected : y === state.selected)));

function change(answers) {
  const own = draft();
  own.before.push(own.answers);
  own.answers = { ...own.answers, ...answers };
  message("");
  showAnswers();
}

function choose(code, on = false) {
  const { answers } = draft();
  change(Object.fromEntries(chosen(on).map((year) => [year, [code, answers[year]?.[1] ?? 1]])));
}

function doubt() {
  const { answers } = draft(), of = chosen().filter((year) => answers[year]);
  showAnswers();
  if (!of.length) return message("Choose a class first, then say that you are unsure.");
  const sure = of.some((year) => answers[year][1] === 1);
  change(Object.fromEntries(of.map((year) => [year, [answers[year][0], sure ? 0 : 1]])));
}

async function undo() {
  const own = draft();
  if (!own.before.length) return state.at > 0 ? go(state.at - 1) : message("There is nothing to undo.");
  own.answers = own.before.pop();
  message("");
  showAnswers();
}

const changed = () => JSON.stringify(draft().answers) !== JSON.stringify({ ...saved(id()) });

/** Bring the answer to disk; false if it is incomplete or was not taken, and then the point stays. */
async function save() {
  const { answers } = draft(), missing = years().filter((year) => !answers[year]);
  if (missing.length) {
    message(`No class yet for ${missing.length === years().length ? "this point" : missing.join(", ")}.`);
    return false;
  }
  if (!changed()) return true;
  const body = Object.fromEntries(Object.entries(answers).map(([year, [code, confidence]]) => [year, { code, confidence }]));
  try {
    await ask(`/points/${state.at}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  } catch (error) {
    const why = error instanceof TypeError ? "the program does not answer; start it again" : error.message;
    message(`Not saved: ${why}. Then press Enter again.`);
    return false;
  }
  state.sample.answers[id()] = answers;
  state.drafts.delete(id());
  showProgress();
  return true;
}

async function next() {
  if (!(await save())) return;
  const open = state.sample.points.findIndex((point) => !whole(saved(point)));
  if (state.at + 1 < state.sample.points.length) await go(state.at + 1);
  else if (open >= 0) await go(open);
  else await end();
}

/** A complete answer is saved before another point shows, an incomplete one is kept in the page. */
async function leave(to) {
  if (changed() && whole(draft().answers) && !(await save())) return;
  await go(Math.min(state.sample.points.length - 1, Math.max(0, to)));
}

// Points

/** The series and the sheets of chips of a point; those of the next point are asked for ahead. */
function fetched(at) {
  if (!state.kept.has(at)) {
    const sheets = state.sample.composites.map(async (_, i) => {
      const image = make("img", { src: `/api/points/${at}/${i}.png` });
      await image.decode();
      return image;
    });
    const found = Promise.all([ask(`/points/${at}`), ...sheets]);
    found.catch(() => state.kept.delete(at));
    state.kept.set(at, found);
    for (const old of state.kept.keys()) if (Math.abs(old - at) > 3) state.kept.delete(old);
  }
  return state.kept.get(at);
}

async function go(to) {
  get("point").setAttribute("aria-busy", "true");
  try {
    const [point, ...sheets] = await fetched(to);
    Object.assign(state, { at: to, point, sheets, selected: null, here: null });
  } catch {
    message("The point cannot be shown: the program does not answer; start it again, then reload this page.");
    return;
  } finally {
    get("point").setAttribute("aria-busy", "false");
  }
  document.body.classList.remove("ended");
  get("end").hidden = true;
  message("");
  showProgress();
  showChips();
  showSeries();
  showAnswers();
  get("chips").scrollTop = 0;
  look(greenest());
  get("status").textContent = `Point ${to + 1} of ${state.sample.points.length}`;
  document.body.dataset.point = to;
  if (to + 1 < state.sample.points.length) fetched(to + 1).catch(() => {});
}

function showProgress() {
  const total = state.sample.points.length, done = answered(), { point } = state;
  get("at").value = state.at + 1;
  get("total").textContent = `of ${total}`;
  Object.assign(get("progress"), { max: total, value: done });
  get("answered").textContent = `${done} answered`;
  get("where").textContent = `${point.lat.toFixed(6)}, ${point.lon.toFixed(6)}`;
  get("where").title = `id ${point.id}; latitude, longitude; x ${point.x}, y ${point.y}`;
}

// Chips

const composites = () => state.sample.composites.map((_, i) => i).filter((i) => state.colours === "both" || state.colours === String(i));

/** The valid date with the highest NDVI, which shows neither snow nor haze. */
function greenest() {
  const { dates, indices } = state.point, valid = dates.map((_, i) => i).filter((i) => dates[i].usable);
  const value = (i) => indices.ndvi?.[i] ?? -1;
  return valid.reduce((best, i) => (value(i) > value(best) ? i : best), valid[0] ?? 0);
}

/** Draw the middle of a chip, and the outline of the pixel over it. */
function view(composite, date, edge) {
  const { centre, edge: whole_, years: of } = state.sample;
  const canvas = make("canvas", { width: edge, height: edge });
  const from = Math.min(whole_ - edge, centre - edge / 2), row = of.findIndex((year) => year.year === date.year);
  canvas.getContext("2d").drawImage(state.sheets[composite], date.column * whole_ + from, row * whole_ + from, edge, edge, 0, 0, edge, edge);
  const place = { "--from": `${(100 * (centre - from)) / edge}%`, "--pixel": `${100 / edge}%` };
  return make("span", { className: "view", style: place }, canvas, make("span", { className: "mark" }));
}

function chip(date, position) {
  const made = make("figure", { className: date.usable ? "chip" : "chip invalid" },
    ...composites().map((i) => view(i, date, state.around)), make("figcaption", {}, date.date.slice(5)));
  made.setAttribute("role", "img");
  made.setAttribute("aria-label", `${date.date}, ${date.usable ? "valid" : "invalid"}${spoken(position)}`);
  made.title = `${date.date}${date.usable ? "" : ", invalid"}`;
  made.dataset.position = position;
  made.addEventListener("pointerenter", () => look(position));
  made.addEventListener("click", () => look(position));
  return made;
}

function spoken(position) {
  const value = state.point.indices.ndvi?.[position];
  return value === undefined || value === null ? "" : `, NDVI ${value.toFixed(2)}`;
}

function showChips() {
  const only = get("valid").checked;
  const rows = state.sample.years.map(({ year, label }) => {
    const strip = make("div", { className: "strip" });
    state.point.dates.forEach((date, i) => {
      if (date.year === year && (date.usable || !only)) strip.append(chip(date, i));
    });
    if (!strip.childElementCount) strip.append(make("p", {}, only ? "no valid date" : "no acquisition"));
    const row = make("div", { className: "year" }, yearButton(year, label), strip);
    row.setAttribute("role", "group");
    row.setAttribute("aria-label", label);
    return row;
  });
  get("chips").replaceChildren(...rows);
  fit();
}

/** A year and its answer; it selects the year. */
function yearButton(year, label) {
  const button = make("button", { type: "button" }, make("b", {}, label), make("span"));
  button.dataset.year = year;
  button.addEventListener("click", () => select(state.selected === year ? null : year));
  return button;
}

/** Chips as large as a year of them in one line allows; of more lines where they would be too small. */
function fit() {
  const strips = [...document.querySelectorAll(".strip")];
  const most = Math.max(1, ...strips.map((strip) => strip.childElementCount)), width = strips[0]?.clientWidth ?? 0;
  const size = Math.floor(width / most) - CHIP.gap;
  get("chips").style.setProperty("--chip", `${size < CHIP.least ? CHIP.usual : Math.min(CHIP.most, size)}px`);
}

function look(position) {
  const date = state.point.dates[position];
  if (!date || position === state.here) return;
  state.here = position;
  for (const one of document.querySelectorAll(".chip")) one.classList.toggle("here", Number(one.dataset.position) === position);
  get("loupe").querySelector("figcaption").textContent = `${date.date}${date.usable ? "" : " · invalid"}`;
  get("loupe").querySelector("div").replaceChildren(...state.sample.composites.map((_, i) => view(i, date, Math.min(32, state.around))));
  const now = get("chart").querySelector(".now");
  for (const end_ of ["x1", "x2"]) now?.setAttribute(end_, state.x(date.date));
}

/** The date before or after; as chips are for the pointer, this is for the keys. */
function lookBy(by) {
  const shown = [...document.querySelectorAll(".chip")], at = shown.findIndex((one) => Number(one.dataset.position) === state.here);
  const to = shown[Math.min(shown.length - 1, Math.max(0, at + by))];
  if (!to) return;
  look(Number(to.dataset.position));
  to.scrollIntoView({ block: "nearest" });
  get("status").textContent = to.getAttribute("aria-label");
}

// Series

function showShown() {
  const names = [...Object.keys(state.point.indices), ...Object.keys(state.point.bands)];
  get("shown").replaceChildren(...names.map((name) => {
    const box = make("input", { type: "checkbox", checked: !state.hidden.has(name) });
    box.addEventListener("change", () => {
      box.checked ? state.hidden.delete(name) : state.hidden.add(name);
      remember("hidden", [...state.hidden]);
      showChart();
    });
    return make("label", {}, box, make("i", { style: { background: colour(name) } }), NAMES[name] ?? name);
  }));
}

const colour = (name) => COLOURS[name] ?? "#c0c8d0";

function showSeries() {
  showShown();
  showChart();
  const columns = { ...state.point.indices, ...state.point.bands };
  const head = ["date", "", ...Object.keys(columns).map((name) => NAMES[name] ?? name)];
  get("values").replaceChildren(make("table", {},
    make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...state.point.dates.map((date, i) => make("tr", {},
      make("th", { scope: "row" }, date.date), make("td", {}, date.usable ? "valid" : "invalid"),
      ...Object.values(columns).map((values) => make("td", {}, values[i] === null ? "no data" : values[i].toFixed(3))))))));
}

/** Indices above, bands below, over all years; valid dates are filled and joined, invalid ones hollow. */
function showChart() {
  const width = Math.max(360, get("chart").clientWidth), left = 34, right = 6, day = 864e5;
  const spans = state.sample.years.map((year) => [Date.parse(year.first), Date.parse(year.end)]);
  const start = Math.min(...spans.map(([from]) => from)), stop = Math.max(...spans.map(([, to]) => to));
  state.x = (date) => left + ((width - left - right) * (Date.parse(date) + day / 2 - start)) / (stop - start);
  const svg = draw("svg", { viewBox: `0 0 ${width} 206`, role: "img", "aria-label": summary() });
  spans.forEach(([from], i) => {
    const x0 = state.x(state.sample.years[i].first), x1 = state.x(state.sample.years[i].end);
    if (state.sample.years[i].year === state.selected) svg.append(draw("rect", { class: "band", x: x0, width: x1 - x0, y: 4, height: 184 }));
    svg.append(draw("line", { class: "axis", x1: x0, x2: x0, y1: 4, y2: 190 }),
      draw("text", { x: (x0 + x1) / 2, y: 203, "text-anchor": "middle" }, state.sample.years[i].label));
  });
  svg.append(draw("line", { class: "now", x1: -9, x2: -9, y1: 4, y2: 190 }));
  const half = Math.min(0, ...visible(state.point.indices).flatMap(([, v]) => v.filter((n) => n !== null))) < -0.3 ? [-1, 0, 1] : [0, 0.5, 1];
  plot(svg, visible(state.point.indices), 8, 92, half, width - right, left);
  const top = Math.max(0.4, ...visible(state.point.bands).flatMap(([, v]) => v.filter((n, i) => n !== null && state.point.dates[i].usable)));
  plot(svg, visible(state.point.bands), 104, 186, [0, Number((top / 2).toFixed(2)), Number(top.toFixed(2))], width - right, left);
  get("chart").replaceChildren(svg);
  const here = state.here;
  state.here = null;
  if (here !== null) look(here);
}

const visible = (series) => Object.entries(series).filter(([name]) => !state.hidden.has(name));

function summary() {
  const { dates } = state.point;
  return `Indices and bands on ${dates.length} dates, ${dates.filter((date) => date.usable).length} of them valid`;
}

function plot(svg, series, top, bottom, ticks, end_, left) {
  const low = ticks[0], high = ticks.at(-1);
  const y = (value) => bottom - ((bottom - top) * (Math.min(high, Math.max(low, value)) - low)) / (high - low);
  for (const tick of ticks) {
    svg.append(draw("line", { class: tick ? "axis" : "zero", x1: left, x2: end_, y1: y(tick), y2: y(tick) }),
      draw("text", { x: left - 5, y: y(tick) + 4, "text-anchor": "end" }, String(tick)));
  }
  const { dates } = state.point;
  for (const [name, values] of series) {
    for (const year of years()) {
      const line = dates.map((date, i) => (date.year === year && date.usable && values[i] !== null ? `${state.x(date.date)},${y(values[i])}` : ""));
      svg.append(draw("polyline", { points: line.join(" "), stroke: colour(name) }));
    }
    values.forEach((value, i) => {
      if (value === null) return;
      const look_ = dates[i].usable ? { r: 2.6, fill: colour(name) } : { r: 2.2, fill: "none", stroke: colour(name), opacity: 0.55 };
      const dot = draw("circle", { cx: state.x(dates[i].date), cy: y(value), ...look_ },
        draw("title", {}, `${dates[i].date}: ${NAMES[name] ?? name} ${value.toFixed(3)}${dates[i].usable ? "" : ", invalid"}`));
      dot.addEventListener("pointerenter", () => look(i));
      svg.append(dot);
    });
  }
}

// The answer

function showClasses() {
  const told = [...state.sample.classes, { code: 0, name: "Cannot be told", colour: "transparent" }];
  get("classes").replaceChildren(...told.map((one, i) => {
    const key = one.code === 0 ? "0" : KEYS[i];
    const button = make("button", { type: "button" }, make("kbd", {}, key ?? "·"), swatch(one.colour), make("span", {}, one.name));
    button.dataset.code = one.code;
    if (key) button.setAttribute("aria-keyshortcuts", key);
    button.addEventListener("click", (event) => { choose(one.code, event.shiftKey); });
    return make("li", {}, button);
  }));
  get("told").replaceChildren(...state.sample.years.map(({ year, label }) => make("li", {}, yearButton(year, label))));
}

function showAnswers() {
  const { answers } = draft(), of = chosen(), known = of.filter((year) => answers[year]);
  for (const button of get("classes").querySelectorAll("button")) {
    const with_ = of.filter((year) => answers[year]?.[0] === Number(button.dataset.code)).length;
    button.setAttribute("aria-pressed", with_ === of.length ? "true" : with_ ? "mixed" : "false");
  }
  const unsure = known.filter((year) => answers[year][1] === 0).length;
  Object.assign(get("unsure"), { checked: unsure > 0, indeterminate: unsure > 0 && unsure < known.length });
  for (const button of document.querySelectorAll("button[data-year]")) {
    const year = Number(button.dataset.year), own = answers[year];
    const found = state.sample.classes.find((one) => one.code === own?.[0]);
    button.querySelector("span").replaceChildren(...(own
      ? [swatch(found?.colour ?? "transparent"), found?.name ?? "Cannot be told", ...(own[1] ? [] : [make("em", {}, " unsure")])]
      : [make("em", {}, "no class yet")]));
    button.setAttribute("aria-pressed", String(year === state.selected));
    button.closest(".year")?.classList.toggle("selected", year === state.selected);
  }
  get("for").textContent = state.selected === null ? "All years" : `Only ${labelOf(state.selected)}`;
}

const labelOf = (year) => state.sample.years.find((one) => one.year === year).label;

function select(year) {
  state.selected = year;
  showAnswers();
  showChart();
  if (year !== null) document.querySelector(`.year [data-year="${year}"]`).closest(".year").scrollIntoView({ block: "nearest" });
  get("status").textContent = year === null ? "All years" : `Only ${labelOf(year)}`;
}

function step(by) {
  const order = [null, ...years()];
  const to = order.indexOf(state.selected) + by;
  if (to >= 0 && to < order.length) select(order[to]);
}

// The end

async function end() {
  let others;
  try {
    others = await ask("/agreement");
  } catch (error) {
    message(`The agreement cannot be shown: ${error.message}.`);
    return;
  }
  const { points, interpreter } = state.sample;
  get("done").textContent = `All ${points.length} points have an answer by ${interpreter}`;
  get("agreement").replaceChildren(...(others.length ? others.flatMap(agreement)
    : [make("p", {}, "No other interpreter has answers for this sample. With a second one, this page tells how far both agree.")]));
  document.body.classList.add("ended");
  delete document.body.dataset.point;
  get("end").hidden = false;
  get("done").focus();
}

function agreement(other) {
  const title = make("h2", {}, `Agreement with ${other.name}`);
  if (other.fault) return [title, make("p", {}, other.fault)];
  const number = (value, digits) => (value === null ? "–" : value.toFixed(digits));
  const cells = (row) => [String(row.n), row.share === null ? "–" : `${number(100 * row.share, 1)} %`, number(row.kappa, 3)];
  const table = make("table", {},
    make("thead", {}, make("tr", {}, ...["year", "points that both could tell", "agreement", "kappa"].map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...other.rows.map((row) => make("tr", {}, make("th", { scope: "row" }, row.year), ...cells(row).map((text) => make("td", {}, text))))));
  const ids = other.differing.map((point) => {
    const button = make("button", { type: "button", title: "Look again" }, point);
    button.addEventListener("click", () => quietly(() => go(state.sample.points.indexOf(point))));
    return button;
  });
  const rest = ids.length ? `Answers differ at ${ids.length} of ${other.points} common points; look at one again:` : `No answer differs at ${other.points} common points.`;
  return [title, table, make("p", {}, rest), make("div", { className: "ids" }, ...ids)];
}

// Controls

/** One thing after the other: what is pressed while a point is saved or loaded is for no point. */
async function quietly(act) {
  if (state.busy) return;
  state.busy = true;
  try { await act(); } finally { state.busy = false; }
}

function around(by) {
  const to = SURROUNDINGS.indexOf(state.around) + by;
  if (to < 0 || to >= SURROUNDINGS.length) return;
  get("around").value = SURROUNDINGS[to];
  get("around").dispatchEvent(new Event("change"));
}

function nextColours() {
  const list = get("colours");
  list.selectedIndex = (list.selectedIndex + 1) % list.options.length;
  list.dispatchEvent(new Event("change"));
}

function toggleValid() {
  get("valid").checked = !get("valid").checked;
  get("valid").dispatchEvent(new Event("change"));
}

function toggleKeys() {
  get("keys").hidden = !get("keys").hidden;
  get("help").setAttribute("aria-expanded", String(!get("keys").hidden));
}

const ACTS = {
  Enter: next, ArrowRight: next, ArrowLeft: () => leave(state.at - 1), Backspace: undo,
  ArrowDown: () => step(1), ArrowUp: () => step(-1), " ": doubt, "+": () => around(1), "-": () => around(-1),
  ".": nextColours, ",": toggleValid, "?": toggleKeys,
  ShiftArrowLeft: () => lookBy(-1), ShiftArrowRight: () => lookBy(1),
  Escape: () => { if (!get("keys").hidden) toggleKeys(); else select(null); },
};

/** Digits by their place, so that they need no Shift on any keyboard; letters as they are written. */
function classOf(event) {
  const key = event.code.match(/^(?:Digit|Numpad)(\d)$/)?.[1] ?? event.key.toLowerCase();
  return key === "0" ? 0 : state.sample.classes[KEYS.indexOf(key)]?.code;
}

function pressed(event) {
  const { target } = event, typing = target.matches("input[type=number], select");
  const own = target.matches("button, summary, input") && (event.key === "Enter" || event.key === " ");
  if (typing || own || event.altKey || event.metaKey || document.body.classList.contains("ended")) return;
  const undone = event.ctrlKey && event.key === "z";
  if (event.ctrlKey && !undone) return;
  const name = event.shiftKey && event.key.startsWith("Arrow") ? `Shift${event.key}` : event.key;
  const code = classOf(event), act = undone ? undo : code === undefined ? ACTS[name] : () => choose(code, event.shiftKey);
  if (!act) return;
  event.preventDefault();
  if (!event.repeat || event.key.startsWith("Arrow")) quietly(act);
}

function listen() {
  document.addEventListener("keydown", pressed);
  // A click leaves the keys to the page; who tabs to a button stays on it.
  document.addEventListener("click", (event) => { if (event.detail > 0) event.target.closest("button, input[type=checkbox]")?.blur(); });
  get("next").addEventListener("click", () => quietly(next));
  get("back").addEventListener("click", () => quietly(() => leave(state.at - 1)));
  get("undo").addEventListener("click", () => quietly(undo));
  get("unsure").addEventListener("click", () => quietly(doubt));
  get("help").addEventListener("click", toggleKeys);
  get("again").addEventListener("click", () => quietly(() => go(state.at)));
  get("at").addEventListener("change", (event) => quietly(() => leave(Number(event.target.value) - 1)));
  get("open").addEventListener("click", () => quietly(() => leave(firstOpen())));
  for (const name of ["colours", "around", "valid"]) {
    get(name).addEventListener("change", ({ target }) => {
      const value = target.type === "checkbox" ? target.checked : target.value;
      remember(name, value);
      if (name === "around") state.around = Number(value);
      if (name === "colours") state.colours = value;
      showChips();
      showAnswers();
      showChart();
      if (target.matches("select")) target.blur();
    });
  }
  addEventListener("resize", () => { if (state.point) { fit(); showChart(); } });
}

function firstOpen() {
  const open = state.sample.points.findIndex((point) => !whole(saved(point)));
  return open < 0 ? state.at : open;
}

function fillOptions() {
  const list = state.sample.composites, all = [["both", "both"], ...list.map((one, i) => [String(i), one.title])];
  const kinds = list.length > 1 ? all : [["0", list[0].title]];
  get("colours").replaceChildren(...kinds.map(([value, text]) => make("option", { value, title: list[Number(value)]?.bands ?? "" }, text)));
  get("around").replaceChildren(...SURROUNDINGS.map((edge) => make("option", { value: edge }, `${edge} pixels`)));
  state.colours = kinds.some(([value]) => value === recall("colours", "both")) ? recall("colours", "both") : kinds[0][0];
  state.around = SURROUNDINGS.includes(Number(recall("around", 64))) ? Number(recall("around", 64)) : 64;
  Object.assign(get("colours"), { value: state.colours });
  Object.assign(get("around"), { value: state.around });
  get("valid").checked = recall("valid", false);
  const bands = new Set(list.flatMap((one) => one.bands.split(", ")));
  const quiet = Object.keys(COLOURS).filter((name) => !bands.has(name) && !["ndvi", "ndwi"].includes(name));
  state.hidden = new Set(recall("hidden", quiet));
  get("at").max = state.sample.points.length;
}

state.sample = await ask("/sample");
document.title = `${state.sample.name}, ${state.sample.interpreter} · mlc-dask`;
fillOptions();
showClasses();
listen();
await go(firstOpen());
if (answered() === state.sample.points.length) await end();
state.busy = false;
document.body.dataset.ready = "yes";
