// The page of `mlc-dask view`: two maps with a border to drag, classes to switch on and off, and a pixel's history.

import { ask, draw, get, make } from "./page.js";

const ZOOMS = { minZoom: 5, maxZoom: 18 };
const NAME_WIDTH = 90; // pixels that a year of the series needs for the name of its class
const state = { place: null, hidden: new Set(), border: 0.5, sides: {}, asked: 0 };

const map = L.map("map", { ...ZOOMS, zoomAnimation: false, fadeAnimation: false });
map.attributionControl.setPrefix("Leaflet 1.9.4");
L.control.scale({ imperial: false }).addTo(map);
const mark = L.layerGroup().addTo(map);

const own = (path = "") => `/places/${encodeURIComponent(state.place.name)}${path}`;
const layerOf = (side) => state.place.layers.find((layer) => layer.name === side.layer);
const compared = () => get("compare").checked;
const shown = () => (compared() ? [state.sides.left, state.sides.right] : [state.sides.left]);

// The two maps

function addSide(name) {
  map.createPane(name).style.zIndex = 200;
  const box = get(name);
  const side = { name, layer: null, year: null, tiles: L.layerGroup().addTo(map), box, pane: map.getPane(name) };
  const choose = (selector, take) => box.querySelector(selector).addEventListener("change", (event) => {
    take(event.target.value);
    show(side);
  });
  choose("select", (value) => { side.layer = value; });
  choose(".years", (value) => { side.year = Number(value); });
  state.sides[name] = side;
}

/** Show the layer and year of a side; the old tiles stay until the new ones are loaded, so that nothing blinks. */
function show(side) {
  const layer = layerOf(side), { place } = state;
  side.box.querySelector(".years").hidden = !layer.yearly;
  const hidden = layer.classed ? [...state.hidden].sort((a, b) => a - b).join(",") : "";
  const url = `/api${own("/tiles")}/${layer.name}/${layer.yearly ? side.year : 0}/{z}/{x}/{y}.png`;
  const tiles = L.tileLayer(`${url}?stamp=${place.stamp}&hidden=${hidden}`, {
    pane: side.name, bounds: place.bounds, tileSize: place.tile, zoomOffset: -Math.log2(place.tile / 256), ...ZOOMS,
  });
  side.newest = tiles;
  tiles.once("load", () => {
    if (side.newest !== tiles) return;
    side.tiles.eachLayer((old) => old === tiles || side.tiles.removeLayer(old));
    side.box.setAttribute("aria-busy", "false");
  });
  side.box.setAttribute("aria-busy", "true");
  side.tiles.addLayer(tiles);
  get(`${side.name}-caption`).textContent = layer.title + (layer.yearly ? ` ${spanOf(side.year).label}` : "");
  showLegend();
}

/** First day of a year, first day after it, and its name: a year need not be a calendar year. */
const spanOf = (year) => state.place.spans[state.place.years.indexOf(year)];

function showLegend() {
  const layers = shown().map(layerOf);
  get("classes").hidden = !layers.some((layer) => layer.classed);
  const ramps = [...new Set(layers.filter((layer) => !layer.classed))];
  get("ramps").replaceChildren(...ramps.map((layer) => make("div", { className: "ramp" },
    make("h2", {}, layer.unit === "%" ? `${layer.title}, %` : layer.title),
    make("ol", {}, ...layer.stops.map((stop) =>
      make("li", {}, make("span", { style: { background: stop.colour } }), String(stop.value)))))));
}

function compare() {
  const both = compared();
  for (const id of ["right", "right-caption", "divider"]) get(id).hidden = !both;
  get("left").querySelector("legend").textContent = both ? "Left" : "Map";
  if (both) show(state.sides.right);
  else { state.sides.right.tiles.clearLayers(); showLegend(); }
  clip();
}

/** Cut both panes at the border; panes have no size of their own, so the cut is given in pixels of the map. */
function clip() {
  const size = map.getSize();
  const corner = map.containerPointToLayerPoint([0, 0]), end = map.containerPointToLayerPoint(size);
  const at = compared() ? corner.x + state.border * size.x : end.x;
  const box = (from, to) => `polygon(${[[from, corner.y], [to, corner.y], [to, end.y], [from, end.y]]
    .map(([x, y]) => `${x}px ${y}px`).join(", ")})`;
  state.sides.left.pane.style.clipPath = box(corner.x, at);
  state.sides.right.pane.style.clipPath = box(at, end.x);
  const divider = get("divider");
  divider.style.left = `${100 * state.border}%`;
  divider.setAttribute("aria-valuenow", Math.round(100 * state.border));
}

function moveBorder(to) {
  state.border = Math.min(1, Math.max(0, to));
  clip();
}

function listenToDivider() {
  const divider = get("divider"), frame = get("frame");
  divider.addEventListener("pointerdown", (event) => {
    divider.setPointerCapture(event.pointerId);
    event.preventDefault();
    divider.focus();
  });
  divider.addEventListener("pointermove", (event) => {
    const { left, width } = frame.getBoundingClientRect();
    if (divider.hasPointerCapture(event.pointerId)) moveBorder((event.clientX - left) / width);
  });
  divider.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: state.border - 0.02, ArrowRight: state.border + 0.02, Home: 0, End: 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    moveBorder(to);
  });
}

// Controls

function fillControls() {
  const { place } = state;
  get("name").textContent = place.name;
  document.title = `${place.name} · mlc-dask`;
  get("grid").textContent = place.grid;
  for (const side of Object.values(state.sides)) {
    side.layer = place.layers[0].name;
    side.year = side.name === "left" ? place.years[0] : place.years.at(-1);
    side.box.querySelector("select").replaceChildren(...place.layers.map((l) => make("option", { value: l.name }, l.title)));
    side.box.querySelector(".years").replaceChildren(...place.years.map((year) => make("label", {},
      make("input", { type: "radio", name: `${side.name}-year`, value: year, checked: year === side.year }),
      make("span", { title: spanOf(year).label }, String(year)))));
  }
  get("classes").querySelector("ul").replaceChildren(...place.classes.map((c) => make("li", {}, make("label", {},
    make("input", { type: "checkbox", value: c.code, checked: !state.hidden.has(c.code) }), swatch(c.colour), c.name))));
}

const swatch = (colour) => make("span", { className: "swatch", style: { background: colour } });

function toggle(codes, visible) {
  for (const code of codes) visible ? state.hidden.delete(code) : state.hidden.add(code);
  for (const box of get("classes").querySelectorAll("input")) box.checked = !state.hidden.has(Number(box.value));
  shown().filter((side) => layerOf(side).classed).forEach(show);
}

async function open(name) {
  state.place = await ask(`/places/${encodeURIComponent(name)}`);
  state.hidden.clear();
  fillControls();
  map.fitBounds(state.place.bounds);
  shown().forEach(show);
  clip();
  await inspect(map.getCenter());
}

// The pixel

/** Ask for the pixel at a point; only the answer to the latest request is shown. */
async function inspect({ lat, lng }) {
  const asked = ++state.asked;
  const pixel = await ask(own(`/pixel?lon=${lng}&lat=${lat}`)).catch((error) => error);
  if (asked !== state.asked) return;
  mark.clearLayers();
  const where = get("where").querySelector("small");
  if (pixel instanceof Error) {
    where.textContent = `${pixel.message} (${lat.toFixed(5)}, ${lng.toFixed(5)})`;
    for (const id of ["history", "series"]) get(id).replaceChildren();
    return;
  }
  const point = `${lat.toFixed(5)}°, ${lng.toFixed(5)}°`;
  where.textContent = `row ${pixel.row}, column ${pixel.column} · ${point} · centre ${pixel.x}, ${pixel.y}`;
  const line = { fill: false, interactive: false };
  mark.addLayer(L.circleMarker([lat, lng], { ...line, radius: 9, color: "#fff", weight: 5 }))
    .addLayer(L.circleMarker([lat, lng], { ...line, radius: 9, color: "#000", weight: 2 }))
    .addLayer(L.polygon(pixel.corners, { ...line, color: "#000", weight: 1 }));
  get("history").replaceChildren(history(pixel));
  get("series").replaceChildren(...series(pixel));
}

function classCell(code) {
  const found = state.place.classes.find((c) => c.code === code);
  return found ? make("td", {}, swatch(found.colour), found.name) : make("td", {}, "no data");
}

function history(pixel) {
  const { place } = state;
  const titles = Object.fromEntries(place.layers.map((layer) => [layer.name, layer.title]));
  const row = (title, cells) => make("tr", {}, make("th", { scope: "row" }, title), ...cells);
  const number = (text) => make("td", { className: "number" }, text);
  const years = place.years.length || 1;
  const rows = Object.entries(pixel.labels).map(([name, codes]) => row(titles[name], codes.map(classCell)));
  const { valid_count: valid } = pixel.values;
  for (const { name, title } of place.layers.filter(({ unit, name }) => unit === "%" && pixel.values[name])) {
    rows.push(row(title, pixel.values[name].map((v) => number(`${v} %`))));
  }
  if (valid) rows.push(row("usable dates", valid.map((v) => number(String(v)))));
  for (const [name, value] of Object.entries(pixel.values).filter(([, v]) => typeof v === "number")) {
    rows.push(row(titles[name] ?? name, [Object.assign(number(String(value)), { colSpan: years })]));
  }
  if (pixel.old_map !== null) rows.push(row("old map", [Object.assign(classCell(pixel.old_map), { colSpan: years })]));
  return make("table", {},
    make("thead", {}, make("tr", {}, make("th"), ...place.years.map((year) => make("th", { scope: "col", title: spanOf(year).label }, String(year))))),
    make("tbody", {}, ...rows));
}

function series(pixel) {
  const rows = pixel.ndvi;
  if (!rows) return [make("p", { className: "hint" }, "No NDVI: the cube of this run was deleted, or has no red or near infrared band.")];
  const width = Math.max(320, get("series").clientWidth);
  return [chart(rows, Object.values(pixel.labels)[0], width), make("details", {}, make("summary", {}, "Dates and values"),
    make("table", {}, make("tbody", {}, ...rows.map((row) => make("tr", {},
      make("td", {}, row.date), make("td", {}, row.value === null ? "no data" : row.value.toFixed(3)),
      make("td", {}, row.usable ? "usable" : "not usable"))))))];
}

/** NDVI over time as SVG: usable dates filled and joined, others hollow, and the map's class of each year below. */
function chart(rows, codes, width) {
  const height = 190, left = 34, right = 8, top = 16, bottom = height - 40;
  const years = state.place.years, day = 864e5, values = rows.filter((row) => row.value !== null);
  const start = Date.parse(spanOf(years[0]).first), end = Date.parse(spanOf(years.at(-1)).end);
  const low = Math.min(0, ...values.map((row) => row.value)), high = Math.max(1, ...values.map((row) => row.value));
  const x = (time) => left + (width - left - right) * (time - start) / (end - start);
  const y = (value) => bottom - (bottom - top) * (value - low) / (high - low);
  const usable = values.filter((row) => row.usable).length;
  const summary = `NDVI on ${values.length} dates of ${spanOf(years[0]).label} to ${spanOf(years.at(-1)).label}, ${usable} of them usable`;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": summary });
  for (const value of [0, 0.25, 0.5, 0.75, 1]) {
    svg.append(draw("line", { class: value ? "axis" : "zero", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
      draw("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end" }, value || "0"));
  }
  years.forEach((year, i) => {
    const from = x(Date.parse(spanOf(year).first)), to = x(Date.parse(spanOf(year).end));
    const found = state.place.classes.find((c) => c.code === codes?.[i]);
    const title = found && to - from > NAME_WIDTH ? `${year} · ${found.name}` : year;
    svg.append(draw("line", { class: "axis", x1: from, x2: from, y1: top, y2: bottom + 22 }),
      draw("rect", { x: from, y: bottom + 9, width: to - from, height: 10, fill: found?.colour ?? "none" }),
      draw("text", { x: (from + to) / 2, y: bottom + 34, "text-anchor": "middle" }, title));
  });
  const point = (row) => [x(Date.parse(row.date) + day / 2), y(row.value)];
  for (const year of years) {
    const line = values.filter((row) => row.usable && row.year === year).map((row) => point(row).join(",")).join(" ");
    svg.append(draw("polyline", { class: "series", points: line }));
  }
  for (const row of values) {
    const [cx, cy] = point(row);
    svg.append(draw("circle", { class: row.usable ? "usable" : "unusable", cx, cy, r: 3.2 },
      draw("title", {}, `${row.date}: ${row.value.toFixed(3)}${row.usable ? "" : ", not usable"}`)));
  }
  svg.append(draw("text", { x: 4, y: 10 }, "NDVI"), legend(width - right));
  return svg;
}

function legend(at) {
  return draw("g", { transform: `translate(${at - 150} 6)` },
    draw("circle", { class: "usable", cx: 0, cy: 0, r: 3.2 }), draw("text", { x: 7, y: 4 }, "usable date"),
    draw("circle", { class: "unusable", cx: 82, cy: 0, r: 3.2 }), draw("text", { x: 89, y: 4 }, "not usable"));
}

// Beginning

addSide("left");
addSide("right");
listenToDivider();
map.on("move zoomend resize viewreset", clip);
map.on("click", (event) => inspect(event.latlng));
map.getContainer().addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target === map.getContainer()) inspect(map.getCenter());
});
get("compare").addEventListener("change", compare);
get("classes").addEventListener("change", (event) => toggle([Number(event.target.value)], event.target.checked));
get("all").addEventListener("click", () => toggle(state.place.classes.map((c) => c.code), true));
get("none").addEventListener("click", () => toggle(state.place.classes.map((c) => c.code), false));
get("places").addEventListener("change", (event) => open(event.target.value));

const names = await ask("/places");
get("places").hidden = names.length < 2;
get("places").querySelector("select").replaceChildren(...names.map((name) => make("option", { value: name }, name)));
await open(names[0]);
