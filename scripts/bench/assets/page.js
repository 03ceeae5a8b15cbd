// The filters, and what they leave of the results: leaderboards, curves, tables.

const FIRST_ROWS = 200; // of a long table
const hidden = { track: new Set(), family: new Set(), task: new Set(), method: new Set(), status: new Set() };
const choice = { y: "best_score", x: "simulated_steps", log: false };
const order = { key: "task", falling: false, text: "", all: false };

// ---------------------------------------------------------------- what the filters leave

function seen() {
  const isSeen = (cell) => !(hidden.track.has(trackOf(cell.method)) || hidden.family.has(familyOf(cell.task)) ||
    hidden.task.has(cell.task) || hidden.method.has(cell.method) || hidden.status.has(cell.status));
  const cells = results.cells.filter(isSeen), scores = new Map(), curves = new Map();
  for (const cell of cells) {
    if (cell.status !== "pending") { // a run that failed has found nothing: its score is 0
      if (!scores.has(cell.method)) scores.set(cell.method, new Map());
      const byTask = scores.get(cell.method);
      if (!byTask.has(cell.task)) byTask.set(cell.task, []);
      byTask.get(cell.task).push(cell.score ?? 0);
    }
    if (cell.curve?.simulated_steps?.length) {
      if (!curves.has(cell.task)) curves.set(cell.task, new Map());
      const byMethod = curves.get(cell.task);
      byMethod.set(cell.method, [...(byMethod.get(cell.method) || []), cell.curve]);
    }
  }
  // methods do not count for each other, so that without some of them the figures of the benchmark stay
  const isPart = hidden.family.size + hidden.task.size + hidden.status.size > 0;
  const names = (track) => methodNames.filter((name) => trackOf(name) === track && scores.has(name));
  return { cells, scores, curves, isPart, names, tracks: tracks.filter((track) => names(track).length) };
}

const part = (view) => view.isPart ? h("p", { class: "about" },
  `Of the runs that the filters leave; intervals from ${REPLICATES} replicates.`) : null;
const nothing = () => h("p", { class: "about" }, "No run to show.");

function meter(row, low, high) {
  const x = (value) => +(6 + ((value - low) / (high - low || 1)) * 248).toFixed(1), { colour } = looks.get(row.method);
  const grid = ticks(low, high).map((value) => s("path", { class: "axis", d: `M${x(value)} 0V22` }));
  return s("svg", { class: "meter", viewBox: "0 0 260 22", role: "img", "aria-label": `IQM ${fixed(row.iqm)}` }, grid,
    s("rect", { class: "bar", x: Math.min(x(0), x(row.iqm)), y: 4, width: Math.abs(x(row.iqm) - x(0)), height: 14,
      fill: colour }),
    hasIntervals && s("path", { class: "whisker", d: `M${x(row.low)} 7v8m0-4H${x(row.high)}m0-4v8` }));
}

function drawLeaderboards(view) {
  byId("leaderboards").replaceChildren(...(view.tracks.length ? [part(view)] : [nothing()]).filter(Boolean),
    ...view.tracks.flatMap((track) => {
      const names = view.names(track);
      const rows = view.isPart ? leaderboardOf(names, view.scores, view.cells)
        : (results.leaderboards[track] || []).filter((row) => names.includes(row.method));
      const low = Math.min(0, ...rows.map((row) => row.low)), high = Math.max(1, ...rows.map((row) => row.high));
      const head = ["", "method", `IQM, ${short(low)} to ${short(high)}`, "IQM", "95 % interval", "median", "mean",
        "solved", "runs", "failed"];
      const table = h("table", {}, h("thead", {}, h("tr", {}, head.map((text, k) =>
        h("th", { scope: "col", class: `${k > 2 ? "number" : ""} ${k === 6 || k === 0 ? "spare" : ""}` }, text)))),
      h("tbody", {}, rows.map((row, k) => h("tr", {}, h("td", { class: "spare" }, `${k + 1}`),
        h("th", { scope: "row", class: "pinned", title: results.methods[row.method].about || null },
          sample(row.method), row.method),
        h("td", {}, meter(row, low, high)), h("td", { class: "number" }, fixed(row.iqm)),
        h("td", { class: "number" }, hasIntervals ? `${fixed(row.low)} to ${fixed(row.high)}` : "–"),
        h("td", { class: "number" }, fixed(row.median)), h("td", { class: "number spare" }, fixed(row.mean)),
        h("td", { class: "number" }, `${row.tasks_solved}`), h("td", { class: "number" }, `${row.cells}`),
        h("td", { class: "number" }, `${row.failed}`)))));
      return [h("h3", {}, `Track: ${track}`), wide(`Leaderboard, ${track}`, table)];
    }));
}

function drawImprovement(view) {
  byId("improvement").replaceChildren(...view.tracks.flatMap((track) => {
    const places = new Map((results.leaderboards[track] || []).map((row, place) => [row.method, place]));
    const names = view.names(track).sort((a, b) => places.get(a) - places.get(b));
    const given = results.improvement[track] || {};
    const opposite = new Map(); // one pair is drawn once, and read both ways
    const computed = (one, other) => {
      const found = opposite.get(`${numberOf.get(one)} ${numberOf.get(other)}`) ||
        improvementOf(view.scores.get(one), view.scores.get(other));
      if (found) opposite.set(`${numberOf.get(other)} ${numberOf.get(one)}`, [1 - found[0], 1 - found[2], 1 - found[1]]);
      return found;
    };
    const cell = (one, other) => {
      const found = one === other ? null : view.isPart ? computed(one, other) : given[one]?.[other];
      if (!found) return h("td", {}, "–");
      const [value, low, high] = found, made = h("td", { class: hasIntervals && (low > 0.5 || high < 0.5) ? "sure" : "" },
        fixed(value, 2), hasIntervals && h("small", {}, `${fixed(low, 2)}–${fixed(high, 2)}`));
      made.style.background = `rgb(var(--${value > 0.5 ? "better" : "worse"}) / ${Math.abs(value - 0.5).toFixed(3)})`;
      return made;
    };
    return [h("h3", {}, `Track: ${track}`), wide(`Probability of improvement, ${track}`, h("table", { class: "matrix" },
      h("thead", {}, h("tr", {}, h("th", { class: "pinned" }, "better ↓ than →"),
        names.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, names.map((one) => h("tr", {}, h("th", { scope: "row" }, one),
        names.map((other) => cell(one, other)))))))];
  }), ...(view.tracks.length ? [] : [nothing()]));
}

function drawProfiles(view) {
  byId("profiles").replaceChildren(...view.tracks.map((track) => {
    const given = results.profiles[track] || {}, thresholds = given.thresholds || [];
    const series = view.names(track).map((method) => {
      const shares = view.isPart ? profileOf(view.scores.get(method), thresholds) : given[method] || [];
      return { method, points: shares.map((share, k) => [thresholds[k], share]) };
    }).filter((one) => one.points.length);
    const x = { low: thresholds[0] ?? 0, high: thresholds[thresholds.length - 1] ?? 1, label: "score threshold" };
    return h("div", {}, h("h3", {}, `Track: ${track}`), legend(view.names(track)),
      chart(`Performance profiles, ${track}`, x, { low: 0, high: 1, label: "share of runs" }, series, 440, 270));
  }), ...(view.tracks.length ? [] : [nothing()]));
}

const LABELS = { best_score: "best score so far", score: "score", return: "return",
  simulated_steps: "simulated steps", seconds: "seconds" };

function taskChart(task, byMethod, names) {
  const series = names.flatMap((method) => {
    const curves = (byMethod.get(method) || []).map((c) => ({ x: c[choice.x] || [], value: c[choice.y] || [] }));
    const found = summary(curves, choice.log);
    return found ? [{ method, ...found }] : [];
  });
  if (!series.length) return null;
  const isScore = choice.y !== "return"; // scores of all tasks are on one scale
  let left = Infinity, right = -Infinity, low = isScore ? 0 : Infinity, high = isScore ? 1 : -Infinity;
  for (const { points, range } of series) {
    left = Math.min(left, points[0][0]);
    right = Math.max(right, points[points.length - 1][0]);
    for (const [, a, b] of range || points.map(([x, y]) => [x, y, y])) { low = Math.min(low, a); high = Math.max(high, b); }
  }
  if (!choice.log) left = Math.min(0, left);
  if (left === right) [left, right] = choice.log ? [left / 2, right * 2] : [left, right + 1];
  if (low === high) [low, high] = [low - 1, high + 1];
  const { family, horizon, summary: words } = results.tasks[task] || {};
  const kind = [family, horizon && `${horizon} steps`].filter(Boolean).join(", ");
  return h("div", {}, h("h4", {}, task, " ", h("small", {}, kind)),
    h("p", { class: "small", title: words || null }, words || ""),
    chart(`${LABELS[choice.y]} on ${task}`, { low: left, high: right, log: choice.log, label: LABELS[choice.x] },
      { low, high, label: LABELS[choice.y] }, series));
}

function drawCurves(view) {
  const made = view.tracks.flatMap((track) => {
    const names = view.names(track);
    const charts = unique([...taskNames, ...view.curves.keys()])
      .map((task) => view.curves.has(task) ? taskChart(task, view.curves.get(task), names) : null).filter(Boolean);
    return charts.length ? [h("h3", {}, `Track: ${track}`), legend(names), h("div", { class: "grid" }, charts)] : [];
  });
  byId("curves").replaceChildren(...(made.length ? made : [nothing()]));
}

// ---------------------------------------------------------------- tables of runs

const rest = (cell) => known(cell.seconds)
  ? Math.max(cell.seconds - (cell.simulation_seconds || 0) - (cell.gradient_seconds || 0), 0) : null;
const COLUMNS = [
  ["task", (cell) => cell.task], ["method", (cell) => cell.method], ["track", (cell) => trackOf(cell.method)],
  ["seed", (cell) => cell.seed, String], ["status", (cell) => cell.status], ["score", (cell) => cell.score, fixed],
  ["return", (cell) => cell.return, (value) => (known(value) ? short(value) : "–")],
  ["steps", (cell) => cell.simulated_steps, whole], ["reverse steps", (cell) => cell.reverse_steps, whole],
  ["time [s]", (cell) => cell.seconds, (value) => fixed(value, 1)],
  ["simulation [s]", (cell) => cell.simulation_seconds, (value) => fixed(value, 1)],
  ["gradient [s]", (cell) => cell.gradient_seconds, (value) => fixed(value, 1)],
  ["method [s]", rest, (value) => fixed(value, 1)],
].map(([key, value, format]) => ({ key, value, format }));

function sorted(cells) {
  const { value } = COLUMNS.find((column) => column.key === order.key), sign = order.falling ? -1 : 1;
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b
    : String(a).localeCompare(String(b), "en", { numeric: true }));
  return [...cells].sort((a, b) => { // what is not known comes last
    const [one, other] = [value(a), value(b)];
    return (one == null) - (other == null) || (one == null ? 0 : sign * compare(one, other));
  });
}

function drawRows(view) {
  const words = order.text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = view.cells.filter((cell) => {
    const text = `${cell.task} ${cell.method} seed${cell.seed} ${cell.status} ${cell.message || ""}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const rows = order.all ? sorted(found) : sorted(found).slice(0, FIRST_ROWS);
  byId("runs-body").replaceChildren(...rows.map((cell) => h("tr", {}, COLUMNS.map(({ value, format }, k) =>
    h(k ? "td" : "th", { class: format ? "number" : null, scope: k ? null : "row" },
      format ? format(value(cell)) : value(cell))))));
  for (const head of byId("runs-head").children)
    head.setAttribute("aria-sort", head.dataset.key !== order.key ? "none" : order.falling ? "descending" : "ascending");
  byId("runs-more").hidden = rows.length === found.length;
  byId("runs-more").textContent = `Show all ${whole(found.length)}`;
  byId("runs-count").textContent = `${whole(rows.length)} of ${whole(found.length)} rows`;
}

function drawFailures(view) {
  const failed = view.cells.filter((cell) => cell.status === "failed");
  const row = (cell) => h("tr", {}, h("th", { scope: "row" }, cell.task), h("td", {}, cell.method),
    h("td", { class: "number" }, `${cell.seed}`), h("td", { class: "text" }, cell.message || "no message"));
  const more = failed.length > FIRST_ROWS &&
    h("p", { class: "about" }, `The first ${FIRST_ROWS} of ${failed.length}.`);
  byId("failures").replaceChildren(...(failed.length ? [more, wide("Failures", h("table", {},
    h("thead", {}, h("tr", {}, ["task", "method", "seed", "message"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, failed.slice(0, FIRST_ROWS).map(row))))].filter(Boolean) : [nothing()]));
}

// ---------------------------------------------------------------- controls

let view = seen();
function update() {
  view = seen();
  byId("count").textContent = `${whole(view.cells.length)} of ${whole(results.cells.length)} runs`;
  for (const draw of [drawLeaderboards, drawCurves, drawImprovement, drawProfiles, drawRows, drawFailures]) draw(view);
  for (const figure of document.querySelectorAll("#videos figure")) {
    const { task, method } = figure.dataset;
    figure.hidden = hidden.task.has(task) || hidden.method.has(method) || hidden.family.has(familyOf(task)) ||
      (Object.hasOwn(results.methods, method) && hidden.track.has(trackOf(method)));
  }
  emphasise(pinned, true);
}

function filter(kind, values) {
  const count = h("span", {}), boxes = values.map((value) => h("input", { type: "checkbox", value, checked: true }));
  const details = h("details", { class: "filter" }, h("summary", {}, `${kind}: `, count));
  const change = (act) => () => {
    boxes.forEach((box) => { box.checked = act(box); });
    show();
    update();
  };
  const show = () => {
    hidden[kind] = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
    count.textContent = hidden[kind].size ? `${values.length - hidden[kind].size}/${values.length}` : "all";
    details.classList.toggle("active", hidden[kind].size > 0);
  };
  details.append(h("div", { role: "group", "aria-label": kind },
    h("button", { type: "button", onclick: change(() => true) }, "all"),
    h("button", { type: "button", onclick: change(() => false) }, "none"),
    boxes.map((box, k) => h("label", { onchange: change((other) => other.checked) }, box, ` ${values[k]}`))));
  details.addEventListener("toggle", () => { // one is open at a time
    for (const other of document.querySelectorAll("details.filter"))
      if (details.open && other !== details) other.open = false;
  });
  show();
  return { details, reset: () => { boxes.forEach((box) => { box.checked = true; }); show(); } };
}

function makeFilters() {
  const filters = [filter("track", tracks), filter("family", unique(taskNames.map(familyOf)).sort()),
    filter("task", taskNames), filter("method", methodNames), filter("status", ["done", "failed", "pending"])];
  const reset = () => { filters.forEach((one) => one.reset()); update(); };
  byId("filters").append(...filters.map((one) => one.details), h("button", { type: "button", onclick: reset }, "reset"),
    h("span", { id: "count", "aria-live": "polite" }));
  const close = () => { for (const { details } of filters) details.open = false; };
  document.addEventListener("click", (event) => { if (!event.target.closest(".filter")) close(); });
  document.addEventListener("keydown", (event) => {
    const open = filters.find(({ details }) => details.open);
    if (event.key === "Escape" && open) { close(); open.details.querySelector("summary").focus(); }
  });
}

function makeChoices() {
  const select = (key, label, values) => h("label", {}, `${label} `, h("select", {
    onchange: (event) => { choice[key] = event.target.value; drawCurves(view); emphasise(pinned, true); },
  }, values.map((value) => h("option", { value }, LABELS[value]))));
  byId("choices").append(select("y", "show", ["best_score", "score", "return"]),
    select("x", "against", ["simulated_steps", "seconds"]),
    h("label", {}, h("input", { type: "checkbox", onchange: (event) => {
      choice.log = event.target.checked; drawCurves(view); emphasise(pinned, true); } }), " logarithmic"));
}

function makeRuns() {
  const sort = (key) => () => {
    Object.assign(order, { falling: order.key === key ? !order.falling : key === "score", key });
    drawRows(view);
  };
  const head = h("tr", { id: "runs-head" }, COLUMNS.map(({ key, format }) => h("th", { scope: "col", "data-key": key,
    class: format ? "number" : null }, h("button", { type: "button", onclick: sort(key) }, key))));
  byId("runs").append(h("div", { class: "tools" },
    h("input", { type: "search", placeholder: "task, method, message", "aria-label": "Search the runs",
      oninput: (event) => { order.text = event.target.value; drawRows(view); } }),
    h("span", { id: "runs-count", class: "about", "aria-live": "polite" })),
  wide("Runs", h("table", {}, h("thead", {}, head), h("tbody", { id: "runs-body" }))),
  h("button", { id: "runs-more", type: "button", onclick: () => { order.all = true; drawRows(view); } }));
}

makeFilters();
makeChoices();
makeRuns();
for (const kind of ["mouseover", "focusin"])
  document.addEventListener(kind, (event) => {
    const marked = event.target.closest?.("g.series, .legend button");
    emphasise(marked ? Number(marked.dataset.m) : pinned);
  });
update();
for (const section of document.querySelectorAll("main > section, #filters")) section.hidden = false;
