"use strict";
// Everything is made of elements and text nodes, never of markup: names and messages may hold anything.

const results = JSON.parse(document.getElementById("results").textContent);
const methodNames = Object.keys(results.methods), taskNames = Object.keys(results.tasks);
const trackOf = (method) => results.methods[method].track;
const familyOf = (task) => results.tasks[task]?.family || "none";
const unique = (values) => [...new Set(values)];
const tracks = unique(methodNames.map(trackOf));
const hasIntervals = results.seeds.length > 1; // one seed says nothing about how far others would differ
const SOLVED = results.solved_score; // mean score from which a task counts as solved
const REPLICATES = 200; // of the bootstrap of a part; the whole has its intervals from the benchmark
const COLOURS = 7, DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 2", "12 4"]; // no common factor: 42 pairs

let pinned = null; // method whose curves stand out, until its button is pressed again

// ---------------------------------------------------------------- elements

function element(make, name, attributes, children) {
  const made = make(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return made;
}
const h = (name, attributes, ...children) => element((n) => document.createElement(n), name, attributes, children);
const s = (name, attributes, ...children) =>
  element((n) => document.createElementNS("http://www.w3.org/2000/svg", n), name, attributes, children);
const byId = (id) => document.getElementById(id);
const wide = (label, table) => h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": label }, table);

const known = (value) => typeof value === "number";
const fixed = (value, digits = 3) => (known(value) ? value.toFixed(digits) : "–");
const whole = (value) => (known(value) ? value.toLocaleString("en") : "–");
function short(value) {
  const size = Math.abs(value);
  for (const [unit, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (size >= unit) return `${+(value / unit).toPrecision(3)}${letter}`;
  return `${+value.toPrecision(3)}`;
}

const looks = new Map(); // of each method: its colour and dash, by its place within its track
for (const track of tracks)
  methodNames.filter((name) => trackOf(name) === track).forEach((name, k) =>
    looks.set(name, { colour: `var(--c${k % COLOURS})`, dash: DASHES[k % DASHES.length] }));
const numberOf = new Map(methodNames.map((name, k) => [name, k]));
const sample = (name) => s("svg", { class: "sample", viewBox: "0 0 34 10", "aria-hidden": "true" },
  s("path", { class: "curve", d: "M2 5H32", stroke: looks.get(name).colour, "stroke-dasharray": looks.get(name).dash }));

// ---------------------------------------------------------------- statistics (as in statistics.py)

function interquartileMean(scores) {
  const sorted = Float64Array.from(scores).sort(), cut = Math.floor(sorted.length / 4);
  let sum = 0;
  for (let k = cut; k < sorted.length - cut; k++) sum += sorted[k];
  return sum / (sorted.length - 2 * cut);
}
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
function median(values) {
  const sorted = Float64Array.from(values).sort(), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
function generator() { // mulberry32 from one seed: the page shows the same intervals each time
  let state = 1;
  return (count) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * count);
  };
}
function bootstrap(statistic) { // 95 % interval of a statistic that draws its runs anew
  const random = generator(), values = Float64Array.from({ length: REPLICATES }, () => statistic(random)).sort();
  return [values[Math.floor(0.025 * REPLICATES)], values[Math.ceil(0.975 * REPLICATES) - 1]];
}

function leaderboardOf(names, scores, cells) {
  const rows = names.map((method) => {
    const byTask = [...scores.get(method).values()], together = byTask.flat(), again = new Float64Array(together.length);
    const [low, high] = bootstrap((random) => {
      let k = 0;
      for (const task of byTask) for (let i = 0; i < task.length; i++) again[k++] = task[random(task.length)];
      return interquartileMean(again);
    });
    return { method, iqm: interquartileMean(together), low, high, mean: mean(together), median: median(together),
      tasks_solved: byTask.filter((task) => mean(task) >= SOLVED).length, cells: together.length,
      failed: cells.filter((cell) => cell.method === method && cell.status === "failed").length };
  });
  return rows.sort((a, b) => b.iqm - a.iqm);
}

function improvementOf(mine, theirs) {
  const wins = [...mine.keys()].filter((task) => theirs.has(task))
    .map((task) => mine.get(task).map((x) => theirs.get(task).map((y) => (x > y ? 1 : x === y ? 0.5 : 0))));
  if (!wins.length) return null;
  const interval = bootstrap((random) => {
    let sum = 0;
    for (const rows of wins) {
      const columns = rows[0].map(() => random(rows[0].length));
      let won = 0;
      for (let k = 0; k < rows.length; k++) {
        const row = rows[random(rows.length)];
        for (const column of columns) won += row[column];
      }
      sum += won / (rows.length * columns.length);
    }
    return sum / wins.length;
  });
  return [mean(wins.map((rows) => mean(rows.map(mean)))), ...interval];
}

function profileOf(byTask, thresholds) {
  return thresholds.map((t) => mean([...byTask.values()].map((task) => mean(task.map((score) => +(score > t))))));
}

// ---------------------------------------------------------------- charts

function ticks(low, high, log) {
  if (log) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const digit of high / low > 60 ? [1] : [1, 2, 5]) found.push(digit * 10 ** power);
    return found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  }
  const rough = (high - low) / 6, unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
}

/** A chart; series: [{method, points: [[x, y]], range: [[x, low, high]]}], x and y: {low, high, label, log}. */
function chart(label, x, y, series, width = 350, height = 215) {
  const left = 44, right = width - 12, top = 8, bottom = height - 36;
  const on = (axis, from, to) => {
    const f = axis.log ? Math.log10 : (value) => value, low = f(axis.low), span = f(axis.high) - low || 1;
    return (value) => +(from + ((f(value) - low) / span) * (to - from)).toFixed(1);
  };
  const px = on(x, left, right), py = on(y, bottom, top);
  const lines = ticks(y.low, y.high).map((value) => [
    s("path", { class: "axis", d: `M${left} ${py(value)}H${right}` }),
    s("text", { x: left - 5, y: py(value) + 4, "text-anchor": "end" }, short(value))]);
  const marks = ticks(x.low, x.high, x.log).map((value) => [
    s("path", { class: "axis", d: `M${px(value)} ${bottom}v4` }),
    s("text", { x: px(value), y: bottom + 16, "text-anchor": "middle" }, short(value))]);
  const drawnSeries = series.map(({ method, points, range }) => {
    const { colour, dash } = looks.get(method), last = points[points.length - 1];
    const there = (p) => p.map(([a, b]) => `${px(a)} ${py(b)}`).join("L");
    const outline = range && [...range.map(([a, , b]) => [a, b]), ...range.map(([a, b]) => [a, b]).reverse()];
    return s("g", { class: "series", "data-m": numberOf.get(method) },
      s("title", {}, `${method}: ${fixed(last[1])} at ${short(last[0])}`),
      outline && s("path", { class: "range", fill: colour, d: `M${there(outline)}Z` }),
      points.length > 1 ? s("path", { class: "curve", stroke: colour, "stroke-dasharray": dash, d: `M${there(points)}` })
        : s("circle", { cx: px(last[0]), cy: py(last[1]), r: 3, fill: colour }));
  });
  return s("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, lines, marks,
    s("path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` }),
    s("text", { x: (left + right) / 2, y: height - 4, "text-anchor": "middle" }, x.label),
    s("text", { x: 10, y: (top + bottom) / 2, "text-anchor": "middle",
      transform: `rotate(-90 10 ${(top + bottom) / 2})` }, y.label), drawnSeries);
}

/** Median and range over seeds of step functions, from where all of them have a value. */
function summary(curves, log) {
  const begun = [];
  for (const { x, value } of curves) {
    const curve = { x: [], value: [], at: 0 };
    for (let k = 0; k < x.length; k++)
      if (known(x[k]) && known(value[k]) && (!log || x[k] > 0)) { curve.x.push(x[k]); curve.value.push(value[k]); }
    if (curve.x.length) begun.push(curve);
  }
  if (!begun.length) return null;
  const start = Math.max(...begun.map((curve) => curve.x[0]));
  const places = Float64Array.from(new Set(begun.flatMap((curve) => curve.x).filter((x) => x >= start))).sort();
  const count = Math.min(places.length, 80), values = new Float64Array(begun.length), middle = begun.length >> 1;
  const points = [], range = [];
  for (let k = 0; k < count; k++) {
    const x = places[count > 1 ? Math.round((k * (places.length - 1)) / (count - 1)) : 0];
    begun.forEach((curve, i) => {
      while (curve.at + 1 < curve.x.length && curve.x[curve.at + 1] <= x) curve.at++;
      values[i] = curve.value[curve.at];
    });
    values.sort();
    points.push([x, begun.length % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2]);
    range.push([x, values[0], values[begun.length - 1]]);
  }
  return { points, range: begun.length > 1 ? range : null };
}

function legend(names) {
  return h("div", { class: "legend" }, names.map((name) => h("button", {
    type: "button", "data-m": numberOf.get(name), "aria-pressed": String(pinned === numberOf.get(name)),
    title: results.methods[name].about || null,
    onclick: () => { pinned = pinned === numberOf.get(name) ? null : numberOf.get(name); emphasise(pinned); },
  }, sample(name), name)));
}
let standing = null; // method whose curves stand out now
function emphasise(number, isRedrawn = false) {
  if (number === standing && !isRedrawn) return;
  standing = number;
  for (const group of document.querySelectorAll("g.series"))
    group.classList.toggle("dim", number !== null && group.dataset.m !== String(number));
  for (const button of document.querySelectorAll(".legend button"))
    button.setAttribute("aria-pressed", String(button.dataset.m === String(pinned)));
}
