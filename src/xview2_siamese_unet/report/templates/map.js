"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const by = id => document.getElementById(id);
const canvas = by("map"), pen = canvas.getContext("2d"), stage = by("stage"), pictures = [by("pre"), by("post")];
const [columns, rows] = data.size, total = data.class.length;
const view = { x: 0, y: 0, zoom: 1 }, filter = { confidence: 0, area: 0, fill: true, classes: data.classes.map(() => true) };
let divider = 0.5, chosen = -1, asked = false;

// Outlines once as paths in pixels of the grid, and their frames for what is in view.
const paths = [], frames = new Float32Array(total * 4);
data.rings.forEach((rings, n) => {
  const path = new Path2D(), frame = [Infinity, Infinity, -Infinity, -Infinity];
  for (const ring of rings) {
    let x = 0, y = 0;
    for (let k = 0; k < ring.length; k += 2) {
      x += ring[k]; y += ring[k + 1];
      const px = x / data.units, py = y / data.units;
      if (k) path.lineTo(px, py); else path.moveTo(px, py);
      frame[0] = Math.min(frame[0], px); frame[1] = Math.min(frame[1], py);
      frame[2] = Math.max(frame[2], px); frame[3] = Math.max(frame[3], py);
    }
    path.closePath();
  }
  paths.push(path); frames.set(frame, n * 4);
});

const width = () => stage.clientWidth, height = () => stage.clientHeight;
const wanted = n => filter.classes[data.class[n]] && data.area[n] >= filter.area && (data.confidence[n] ?? 0) >= filter.confidence;
const inView = n => {
  const x = view.x + width() / view.zoom, y = view.y + height() / view.zoom;
  return frames[4 * n] < x && frames[4 * n + 2] > view.x && frames[4 * n + 1] < y && frames[4 * n + 3] > view.y;
};

function showAll() {
  view.zoom = Math.min(width() / columns, height() / rows) * 0.96;
  view.x = columns / 2 - width() / view.zoom / 2;
  view.y = rows / 2 - height() / view.zoom / 2;
  redraw();
}

function zoomAt(factor, x = width() / 2, y = height() / 2) {
  const zoom = Math.min(Math.max(view.zoom * factor, 0.5 * Math.min(width() / columns, height() / rows)), 40);
  view.x += x / view.zoom - x / zoom;
  view.y += y / view.zoom - y / zoom;
  view.zoom = zoom;
  redraw();
}

function redraw() { if (!asked) { asked = true; requestAnimationFrame(draw); } }

function draw() {
  asked = false;
  const dense = devicePixelRatio || 1, w = width(), h = height();
  if (canvas.width !== Math.round(w * dense) || canvas.height !== Math.round(h * dense)) {
    canvas.width = Math.round(w * dense); canvas.height = Math.round(h * dense);
  }
  const toPage = () => pen.setTransform(dense, 0, 0, dense, 0, 0);
  const toGrid = () => { toPage(); pen.scale(view.zoom, view.zoom); pen.translate(-view.x, -view.y); };
  toPage(); pen.clearRect(0, 0, w, h);
  pictures.forEach((picture, number) => {
    pen.save(); pen.beginPath();
    pen.rect(number ? divider * w : 0, 0, number ? w : divider * w, h);
    pen.clip(); toGrid(); pen.imageSmoothingEnabled = view.zoom < 3;
    pen.drawImage(picture, 0, 0, columns, rows); pen.restore();
  });
  const counts = data.classes.map(() => 0), shown = [];
  for (let n = 0; n < total; n++) if (wanted(n) && inView(n)) { counts[data.class[n]]++; shown.push(n); }
  toGrid(); drawBuildings(shown); toPage();
  drawLetters(shown);
  counts.forEach((count, k) => { document.querySelector(`[data-count="${k}"]`).textContent = count.toLocaleString("en"); });
  by("shown").textContent = shown.length.toLocaleString("en");
  by("divider").style.left = `${divider * 100}%`;
  by("divider").setAttribute("aria-valuenow", Math.round(divider * 100));
  drawScale();
}

function drawBuildings(shown) {
  data.classes.forEach((kind, k) => {
    const all = new Path2D(), dot = 2 / view.zoom;
    pen.fillStyle = kind.colour;
    for (const n of shown) {
      if (data.class[n] !== k) continue;
      const f = 4 * n, large = Math.max(frames[f + 2] - frames[f], frames[f + 3] - frames[f + 1]) > 1.5 * dot;
      // From far away a building is a dot: outlines of all of a city would take a second a frame.
      if (large) all.addPath(paths[n]); else pen.fillRect((frames[f] + frames[f + 2] - dot) / 2, (frames[f + 1] + frames[f + 3] - dot) / 2, dot, dot);
    }
    const unknown = k === data.classes.length - 1;
    if (filter.fill && !unknown) { pen.globalAlpha = 0.45; pen.fillStyle = kind.colour; pen.fill(all, "evenodd"); pen.globalAlpha = 1; }
    pen.setLineDash(unknown ? [4 / view.zoom, 3 / view.zoom] : []);
    pen.strokeStyle = "#000"; pen.lineWidth = 3 / view.zoom; if (view.zoom > 0.7) pen.stroke(all);
    pen.strokeStyle = kind.colour; pen.lineWidth = 1.5 / view.zoom; pen.stroke(all);
  });
  pen.setLineDash([]);
  if (chosen >= 0) { pen.strokeStyle = "#fff"; pen.lineWidth = 4 / view.zoom; pen.stroke(paths[chosen]); }
}

function drawLetters(shown) {
  if (shown.length > 600) return;
  pen.lineJoin = "round"; pen.font = "bold 12px sans-serif"; pen.textAlign = "center"; pen.textBaseline = "middle"; pen.lineWidth = 3; pen.strokeStyle = "#000"; pen.fillStyle = "#fff";
  for (const n of shown) {
    const f = frames.subarray(4 * n, 4 * n + 4);
    if ((f[2] - f[0]) * view.zoom < 14) continue;
    const x = ((f[0] + f[2]) / 2 - view.x) * view.zoom, y = ((f[1] + f[3]) / 2 - view.y) * view.zoom;
    pen.strokeText(data.classes[data.class[n]].letter, x, y); pen.fillText(data.classes[data.class[n]].letter, x, y);
  }
}

function drawScale() {
  const metres = 120 * data.pixel / view.zoom, power = 10 ** Math.floor(Math.log10(metres));
  const round = [5, 2, 1].find(step => step * power <= metres) * power;
  by("scale").firstElementChild.style.width = `${round / data.pixel * view.zoom}px`;
  by("scale").lastElementChild.textContent = round >= 1000 ? `${round / 1000} km` : `${round} m`;
}

function choose(n, move) {
  chosen = n;
  const box = by("facts");
  box.hidden = n < 0;
  if (n >= 0) {
    const title = document.createElement("h2"), list = document.createElement("dl");
    title.textContent = data.classes[data.class[n]].word;
    for (const [name, values] of Object.entries(data.facts)) {
      if (values[n] === "") continue;
      const key = document.createElement("dt"), value = document.createElement("dd");
      key.textContent = name; value.textContent = values[n]; list.append(key, value);
    }
    box.replaceChildren(title, list);
    if (move) {
      view.zoom = Math.max(view.zoom, 1.5);
      view.x = (frames[4 * n] + frames[4 * n + 2]) / 2 - width() / view.zoom / 2;
      view.y = (frames[4 * n + 1] + frames[4 * n + 3]) / 2 - height() / view.zoom / 2;
    }
  }
  redraw();
}

function at(x, y) {
  const gx = view.x + x / view.zoom, gy = view.y + y / view.zoom;
  pen.setTransform(1, 0, 0, 1, 0, 0);
  for (let n = total - 1; n >= 0; n--) {
    const f = frames.subarray(4 * n, 4 * n + 4);
    if (f[0] <= gx && gx <= f[2] && f[1] <= gy && gy <= f[3] && wanted(n) && pen.isPointInPath(paths[n], gx, gy, "evenodd")) return n;
  }
  return -1;
}

function step(by) {
  for (let k = 1, n = chosen; k <= total; k++) {
    n = (n + by + total) % total;
    if (wanted(n)) return choose(n, true);
  }
}

let drag = null;
canvas.addEventListener("pointerdown", e => { drag = { x: e.offsetX, y: e.offsetY, moved: 0 }; canvas.setPointerCapture(e.pointerId); });
canvas.addEventListener("pointermove", e => {
  if (!drag) return;
  const dx = e.offsetX - drag.x, dy = e.offsetY - drag.y;
  view.x -= dx / view.zoom; view.y -= dy / view.zoom;
  drag = { x: e.offsetX, y: e.offsetY, moved: drag.moved + Math.abs(dx) + Math.abs(dy) };
  redraw();
});
canvas.addEventListener("pointerup", e => { if (drag && drag.moved < 5) choose(at(e.offsetX, e.offsetY), false); drag = null; });
canvas.addEventListener("wheel", e => { e.preventDefault(); zoomAt(Math.exp(-e.deltaY / 400), e.offsetX, e.offsetY); }, { passive: false });
const slide = by("divider");
const setDivider = value => { divider = Math.min(Math.max(value, 0), 1); redraw(); };
slide.addEventListener("pointerdown", e => slide.setPointerCapture(e.pointerId));
slide.addEventListener("pointermove", e => { if (slide.hasPointerCapture(e.pointerId)) setDivider((e.clientX - stage.getBoundingClientRect().left) / width()); });
slide.addEventListener("keydown", e => {
  const by = { ArrowLeft: -0.05, ArrowRight: 0.05 }[e.key];
  if (by) { setDivider(divider + by); e.preventDefault(); e.stopPropagation(); }
});

const keys = {
  ArrowLeft: () => { view.x -= 60 / view.zoom; }, ArrowRight: () => { view.x += 60 / view.zoom; },
  ArrowUp: () => { view.y -= 60 / view.zoom; }, ArrowDown: () => { view.y += 60 / view.zoom; },
  "+": () => zoomAt(1.3), "=": () => zoomAt(1.3), "-": () => zoomAt(1 / 1.3), "0": showAll,
  "[": () => setDivider(divider - 0.05), "]": () => setDivider(divider + 0.05),
  n: () => step(1), N: () => step(1), p: () => step(-1), P: () => step(-1), Escape: () => choose(-1, false),
};
document.addEventListener("keydown", e => {
  if (!keys[e.key] || e.ctrlKey || e.metaKey || e.altKey || (e.target.type === "range" && e.key.startsWith("Arrow"))) return;
  keys[e.key](); e.preventDefault(); redraw();
});

document.querySelectorAll("[data-class]").forEach(box => box.addEventListener("change", () => { filter.classes[+box.dataset.class] = box.checked; redraw(); }));
by("fill").addEventListener("change", () => { filter.fill = by("fill").checked; redraw(); });
for (const [name, text] of [["confidence", v => v.toFixed(2)], ["area", v => `${v} m²`]]) {
  const set = () => { filter[name] = +by(name).value; by(`${name}-value`).textContent = text(filter[name]); redraw(); };
  by(name).addEventListener("input", set); set();
}
by("in").addEventListener("click", () => zoomAt(1.5));
by("out").addEventListener("click", () => zoomAt(1 / 1.5));
by("all").addEventListener("click", showAll);
// Until the user moves the map, all of it stays in view.
let touched = false;
for (const kind of ["pointerdown", "wheel", "keydown"]) addEventListener(kind, () => { touched = true; }, { capture: true, passive: true });
// Drawn at once: the frame that is painted next would stretch the old drawing.
new ResizeObserver(() => { if (!touched) showAll(); draw(); }).observe(stage);
Promise.all(pictures.map(picture => picture.decode())).then(() => { showAll(); document.body.dataset.ready = "yes"; });
