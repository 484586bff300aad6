"use strict";
const by = id => document.getElementById(id), data = JSON.parse(by("data").textContent);
const { buildings, answers } = data, total = buildings.length, storageKey = `labels-${data.key}`;
const words = answers.map(answer => answer.value), view = { wide: false, outline: true };
let state = restore(), stored = true, shown = -1;

function restore() {
  try {
    const kept = JSON.parse(localStorage.getItem(storageKey));
    if (kept.labels.length === total && kept.labels.every(label => label === null || words.includes(label))) return kept;
  } catch { /* nothing was kept, or this browser keeps nothing */ }
  return { labels: Array(total).fill(null), undo: [], at: 0 };
}

function save() {
  try { localStorage.setItem(storageKey, JSON.stringify(state)); stored = true; } catch { stored = false; }
  by("unsaved").hidden = stored;
}

const say = text => { by("status").textContent = text; };
const done = () => state.labels.filter(label => label !== null).length;
const nameOf = label => label === null ? "no label" : answers[words.indexOf(label)].name;

// One step of undo holds what one key, button or file changed: numbers of buildings and their labels before.
function change(changes) {
  state.undo.push(changes.map(([n]) => [n, state.labels[n]]));
  for (const [n, label] of changes) state.labels[n] = label;
}

function answer(label) {
  const n = state.at;
  if (state.labels[n] !== label) change([[n, label]]);
  for (let k = 1; k < total && state.labels[state.at] !== null; k++) state.at = (n + k) % total;
  const all = state.labels[state.at] !== null;
  if (all) state.at = n;
  show(`${nameOf(label)}. ${all ? `All ${total} buildings are labelled: export the labels.` : `Building ${state.at + 1} of ${total}.`}`);
}

function undo() {
  const before = state.undo.pop();
  if (!before) return say("Nothing to undo.");
  for (const [n, label] of before) state.labels[n] = label;
  state.at = before[0][0];
  show(`Undone. Building ${state.at + 1}: ${nameOf(state.labels[state.at])}.`);
}

function go(n) {
  state.at = (n + total) % total;
  show(`Building ${state.at + 1} of ${total}: ${nameOf(state.labels[state.at])}.`);
}

function show(text) {
  const n = state.at, building = buildings[n], label = state.labels[n], count = done();
  for (const phase of ["pre", "post"]) {
    const box = by(phase), picture = box.querySelector("img"), uri = building[phase];
    picture.hidden = !uri;
    if (uri) picture.src = uri; else picture.removeAttribute("src");
    picture.alt = uri ? `${phase}-disaster image of building ${building.id}` : "";
    box.querySelector(".none").hidden = Boolean(uri);
    box.querySelectorAll("path").forEach(path => path.setAttribute("d", view.outline ? building.path : ""));
    box.querySelector(".sheet").style.setProperty("--zoom", view.wide ? 1 : building.zoom);
  }
  by("pre").hidden = !data.pre;
  by("chips").classList.toggle("alone", !data.pre);
  const over = document.querySelector(".over");
  if (building.pre) over.src = building.pre; else over.removeAttribute("src");
  if (shown !== n) swipe(0); // otherwise the next building would show its pre-disaster image
  shown = n;
  for (const name of ["blink", "swipe"]) by(name).disabled = !building.pre;
  by("where").textContent = `Building ${n + 1} of ${total} · ${building.id} · ${building.area} m²`;
  by("progress").value = count;
  by("count").textContent = `${count} of ${total} labelled`;
  by("prediction").hidden = !building.prediction;
  by("prediction").textContent = building.prediction ? `Prediction: ${building.prediction}` : "";
  document.querySelectorAll(".answer").forEach((button, k) => button.setAttribute("aria-pressed", words[k] === label));
  by("zoom").setAttribute("aria-pressed", view.wide);
  by("outline").setAttribute("aria-pressed", view.outline);
  [...by("strip").children].forEach((mark, k) => {
    const answered = answers[words.indexOf(state.labels[k])];
    mark.style.setProperty("--colour", answered ? answered.colour : "transparent");
    mark.toggleAttribute("aria-current", k === n);
  });
  drawScale(building.metres / (view.wide ? 1 : building.zoom));
  save();
  if (text) say(text);
}

function drawScale(metres) {
  const power = 10 ** Math.floor(Math.log10(metres / 4)), round = [5, 2, 1].find(step => step * power <= metres / 4) * power;
  const [bar, note] = document.querySelector(".scale").children;
  bar.style.width = `${round / metres * by("post").clientWidth}px`;
  note.textContent = `${round} m`;
}

function swipe(percent) {
  const share = Math.min(Math.max(percent, 0), 100), caption = by("post").querySelector("figcaption");
  by("swipe").value = share;
  document.querySelector(".over").style.setProperty("--swipe", `${share}%`);
  by("blink").setAttribute("aria-pressed", share === 100);
  caption.dataset.text ??= caption.textContent;
  caption.textContent = share === 100 ? "pre-disaster image" : share ? "left: pre-disaster, right: post-disaster image" : caption.dataset.text;
  caption.classList.toggle("over-post", share > 0);
}

function download(ending, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = `${data.file}.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say(`${done()} labels exported to ${link.download}.`);
}

const labelled = () => buildings.map((building, n) => [building, state.labels[n]]).filter(([, label]) => label !== null);
const quote = text => `"${text.replaceAll('"', '""')}"`;
// With a byte order mark, without which spreadsheets misread letters with accents.
const csv = () => `\ufeff${[["building_id", "damage"], ...labelled().map(([building, label]) => [building.id, label])].map(row => row.map(quote).join(",")).join("\r\n")}\r\n`;
const geojson = () => JSON.stringify({
  type: "FeatureCollection",
  features: labelled().map(([building, label]) => ({ type: "Feature", properties: { building_id: building.id, damage: label }, geometry: building.geometry })),
});

function parseCsv(text) {
  const rows = [[]];
  for (const [, quoted, plain, end] of text.replace(/^\ufeff/, "").matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
    rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end !== ",") rows.push([]);
  }
  const [head, ...body] = rows, columns = ["building_id", "damage"].map(name => head.indexOf(name));
  if (columns.includes(-1)) throw new Error("columns are missing");
  return body.map(row => columns.map(column => row[column])).filter(([id]) => id);
}

function load(text) {
  let pairs;
  try {
    pairs = text.trimStart().startsWith("{") ? JSON.parse(text).features.map(each => [each.properties.building_id, each.properties.damage]) : parseCsv(text);
  } catch { return say("This file holds no labels that this page has exported."); }
  const numbers = new Map(buildings.map((building, n) => [building.id, n]));
  const usable = pairs.filter(([id, label]) => numbers.has(id) && words.includes(label)).map(([id, label]) => [numbers.get(id), label]);
  const replaced = usable.filter(([n, label]) => state.labels[n] !== null && state.labels[n] !== label).length;
  if (usable.length) change(usable);
  const others = pairs.length - usable.length;
  show(`${usable.length} labels imported, ${replaced} of them in place of another${others ? `; ${others} rows left out: unknown buildings or classes` : ""}.`);
}

const keys = {
  ArrowLeft: () => go(state.at - 1), ArrowRight: () => go(state.at + 1), Backspace: undo, x: undo,
  n: () => { const n = state.labels.indexOf(null); if (n < 0) say("Every building has a label."); else go(n); },
  b: () => swipe(+by("swipe").value === 100 ? 0 : 100), z: () => { view.wide = !view.wide; show(); }, o: () => { view.outline = !view.outline; show(); },
  "[": () => swipe(+by("swipe").value - 10), "]": () => swipe(+by("swipe").value + 10),
};
answers.forEach(each => { keys[each.key] = () => answer(each.value); });
document.addEventListener("keydown", e => {
  const act = keys[e.key] ?? keys[e.key.toLowerCase()];
  if (e.key === "z" && (e.ctrlKey || e.metaKey)) { e.preventDefault(); return undo(); }
  if (!act || e.ctrlKey || e.metaKey || e.altKey || (e.target.type === "range" && e.key.startsWith("Arrow"))) return;
  if ("b[]".includes(e.key) && !buildings[state.at].pre) return;
  e.preventDefault(); act();
});
document.querySelectorAll("[data-answer]").forEach((button, k) => button.addEventListener("click", () => answer(words[k])));
document.querySelectorAll("[data-key]").forEach(button => button.addEventListener("click", () => keys[button.dataset.key]()));
by("swipe").addEventListener("input", () => swipe(+by("swipe").value));
by("csv").addEventListener("click", () => download("csv", "text/csv", csv()));
by("geojson").addEventListener("click", () => download("geojson", "application/geo+json", geojson()));
by("load").addEventListener("click", () => by("file").click());
by("file").addEventListener("change", async () => { const file = by("file").files[0]; if (file) load(await file.text()); by("file").value = ""; });
by("clear").addEventListener("click", () => {
  const labels = state.labels.flatMap((label, n) => label === null ? [] : [[n, null]]);
  if (!labels.length) return say("There are no labels.");
  change(labels); state.at = 0; show("All labels removed; undo brings them back.");
});
buildings.forEach((building, n) => {
  const mark = document.createElement("li");
  mark.title = `${n + 1}: ${building.id}`;
  mark.addEventListener("click", () => go(n));
  by("strip").append(mark);
});
addEventListener("storage", e => { if (e.key === storageKey) { state = restore(); show("The labels were changed in another tab."); } });
addEventListener("beforeunload", e => { if (!stored && done()) e.preventDefault(); });
addEventListener("resize", () => show());
show(`${done() ? `${done()} labels restored. ` : ""}Building ${state.at + 1} of ${total}.`);
