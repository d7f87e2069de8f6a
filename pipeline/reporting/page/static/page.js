// Asks for the state once a second, and shows it. It stops while the page is hidden or paused.

import { LineChart } from "./charts.js";
import { barCell, cell, count, element, numberCell, row, setBar, setText, showRows, time } from "./tables.js";

const EVERY_MS = window.matchMedia("(prefers-reduced-motion: reduce)").matches ? 5000 : 1000;
const TIMEOUT_MS = 5000;
const NAMES = { decode: "Decode", predict: "Predict", encode: "Encode", write: "Write" };

const $ = (id) => document.getElementById(id);
const ms = (value) => (value < 1000 ? `${value < 10 ? Number(value.toFixed(1)) : Math.round(value)} ms` : `${Number((value / 1000).toFixed(1))} s`);
const whole = (value) => count(value < 10 && value % 1 ? Number(value.toFixed(1)) : Math.round(value));

const charts = [
  new LineChart($("rate"), "Throughput", [{ name: "Records a second", of: (point) => point.rate }], whole),
  new LineChart($("latency"), "Latency", [
    { name: "Median", of: (point) => point.p50 },
    { name: "99th percentile", of: (point) => point.p99 },
  ], ms),
  new LineChart($("flight"), "Requests in flight", [{ name: "Requests", of: (point) => point.inFlight }], whole),
  new LineChart($("to-go"), "Records to go", [{ name: "Records", of: (point) => point.lag }], whole),
];

let paused = false, last = null, timer = 0;

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  if (!paused) look();
});
document.addEventListener("visibilitychange", () => document.hidden || look());

async function look() {
  clearTimeout(timer);
  if (paused || document.hidden) return;
  try {
    const answer = await fetch("state.json", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.json());
  } catch {
    $("phase").classList.add("alert");
    const then = last ? ` This is how it was at ${time(last.now)}.` : "";
    setText($("phase"), `The job has ended, or can't be reached.${then}`);
  }
  clearTimeout(timer);
  timer = setTimeout(look, EVERY_MS);
}

function show(state) {
  last = state;
  document.title = `${count(state.totals.records)} – ${state.inputs.join(", ")}`;
  setText($("title"), `Scoring ${state.inputs.join(", ")} with ${state.model}`);
  const since = state.holding_since ? `, since ${time(state.holding_since)}` : "";
  setText($("phase"), `${state.phase[0].toUpperCase()}${state.phase.slice(1)}${since}.`);
  $("phase").classList.toggle("alert", Boolean(state.holding_since));
  setText($("updated"), `${state.delivery}; updated ${time(state.now)}`);
  showFigures(state);
  showGraph(state);
  showCharts(state);
  showLag(state.lag);
  showBatches(state);
  showVersions(state);
  showClasses(state);
  showPredictions(state);
  showDeadLetters(state);
}

function showFigures({ totals, points, lag, workers }) {
  const latest = points.at(-1) ?? [0, 0, null, null];
  const figures = {
    "Records": count(totals.records),
    "Predictions": count(totals.predictions),
    "Dead letters": count(totals.dead_letters),
    "Records a second": whole(latest[1]),
    "Latency, median": latest[2] === null ? "–" : ms(latest[2]),
    "Latency, 99%": latest[3] === null ? "–" : ms(latest[3]),
    "Requests in flight": totals.in_flight > totals.in_flight_limit
      ? `${count(totals.in_flight)}, limit ${count(totals.in_flight_limit)}` // the limit was lowered
      : `${count(totals.in_flight)} of ${count(totals.in_flight_limit)}`,
    "Records in a request": totals.mean_batch_size.toFixed(1),
    "Requests failed": count(totals.failures),
    "Rolled back": count(totals.rollbacks),
    "Records to go": lag ? count(lag.records) : "not known",
    "Time to go": lag?.to_go ?? "–",
    "Partitions": count(totals.partitions),
    "Workers": totals.restarts ? `${count(workers)} (${count(totals.restarts)} restarts)` : count(workers),
    "Model version": totals.versions.join(", ") || "–",
  };
  const place = $("figures");
  Object.entries(figures).forEach(([name, text], index) => {
    const cell = place.children[index] ?? place.appendChild(element("div", "", element("dt"), element("dd")));
    setText(cell.children[0], name);
    setText(cell.children[1], text);
  });
}

function showGraph({ graph, inputs, output, dead_letters_topic }) {
  const place = $("graph");
  if (!place.children.length) {
    const node = (text, className) => element("span", className, text);
    const edge = () => element("span", "edge");
    place.append(element("li", "", node(inputs.join(", "), "node topic"), edge(), node("Read", "node")));
    for (const { to } of graph.edges)
      place.append(element("li", "", edge(), element("span", "", node(NAMES[to], "node"), node("", "left"))));
    const ends = element("span", "ends", element("span", "", edge(), node(output, "node topic")),
      element("span", "", edge(), node(dead_letters_topic, "node topic")));
    place.append(element("li", "", ends));
  }
  const edges = place.querySelectorAll(".edge"), left = place.querySelectorAll(".left");
  const counts = [graph.edges[0].count, ...graph.edges.map((one) => one.count), graph.predictions, graph.dead_letters];
  counts.forEach((value, index) => setText(edges[index], `${count(value)} →`));
  graph.edges.forEach((one, index) => setText(left[index], one.dead_letters ? `↓ ${count(one.dead_letters)} dead` : ""));
}

function showCharts(state) {
  const points = state.points.map(([at, rate, p50, p99, inFlight, lag]) => ({ at, rate, p50, p99, inFlight, lag }));
  const changes = state.versions.map((change) => ({ at: change.at, label: change.versions.join(", ") }));
  for (const chart of charts) chart.draw(points, changes, state.now);
}

function showLag(lag) {
  const partitions = lag?.partitions ?? [];
  const others = lag?.others ? ` The ${count(lag.others)} with the least are left out.` : "";
  setText($("lag-note"), lag
    ? `Records after the group's committed offsets, of all processes of the group.${others}`
    : "Not known yet: Kafka is asked every few seconds. The demo's broker does not know it.");
  const most = Math.max(1, ...partitions.map((one) => one.records));
  const make = (one) => row(one.topic, numberCell(String(one.partition)), numberCell(""), barCell());
  showRows($("lag"), partitions, (one) => `${one.topic}/${one.partition}`, make, (shown, one) => {
    setText(shown.cells[2], count(one.records));
    setBar(shown, one.records / most);
  });
}

function showBatches({ batches, totals }) {
  setText($("batches-note"), `${count(totals.batches)} answered requests, ${totals.mean_batch_size.toFixed(1)} records each on average.`);
  const most = Math.max(1, ...batches.map((one) => one.count));
  const names = batches.map((one, index) => {
    const from = index ? batches[index - 1].up_to + 1 : 1;
    if (one.up_to === null) return `${from} or more`;
    return from === one.up_to ? String(from) : `${from} to ${one.up_to}`;
  });
  const items = batches.map((one, index) => ({ ...one, name: names[index] }));
  showRows($("batches"), items, (one) => one.name, (one) => {
    const made = row(one.name, numberCell(""), barCell());
    made.cells[0].className = "number";
    return made;
  }, (shown, one) => {
    setText(shown.cells[1], count(one.count));
    setBar(shown, one.count / most);
  });
}

function showVersions({ versions, model }) {
  setText($("versions-note"), versions.length ? `Of ${model}. Two at a time while one takes over.` : `${model} has not said a version yet.`);
  const items = versions.map((one, index) => ({ ...one, to: versions[index + 1]?.at ?? null })).reverse();
  const make = (one) => row(time(one.at), cell(), cell(one.versions.join(", ")));
  showRows($("versions"), items, (one) => one.at, make, (shown, one) => setText(shown.cells[1], one.to ? time(one.to) : "now"));
}

function showClasses({ by_class }) {
  setText($("classes-note"), by_class.length ? "" : "None.");
  const make = (one) => row(one.class, cell(one.stage), numberCell(""));
  showRows($("classes"), by_class, (one) => `${one.stage}/${one.class}`, make, (shown, one) => setText(shown.cells[2], count(one.count)));
}

/** The input of a record: an image, the beginning of its text if that is shown, or nothing. */
function showInput(place, item) {
  const shown = item.picture ?? item.input ?? "";
  if (place.dataset.shown === shown) return;
  place.dataset.shown = shown;
  if (item.picture) {
    const image = element("img");
    image.src = item.picture;
    image.alt = `Input ${item.key ?? item.source}`;
    place.replaceChildren(image);
  } else place.replaceChildren(element("span", "text", item.input ?? "–"));
}

const textOf = (key) => (key === null ? "(null)" : key);

function showPredictions({ predictions, samples_outputs, shows_inputs }) {
  const hidden = shows_inputs ? "" : " Of inputs only images are shown; --status_inputs shows the beginnings of others.";
  setText($("predictions-note"), samples_outputs
    ? `A few of each second, once they are committed.${hidden}`
    : "Not shown with --kafka_io=beam.");
  const make = (one) => row("", cell(element("span", "text", textOf(one.key))), cell(element("span", "text", one.value)),
    cell(one.version || "–"), numberCell(one.latency_ms ? ms(Number(one.latency_ms)) : "–"),
    cell(element("span", "text", one.source)), cell(time(one.at)));
  showRows($("predictions"), predictions, (one) => `${one.source} ${one.at}`, make, (shown, one) => showInput(shown.cells[0], one));
}

function showDeadLetters({ dead_letters, samples_outputs, dead_letters_topic, totals }) {
  const none = totals.dead_letters ? "" : " None yet.";
  setText($("dead-note"), samples_outputs
    ? `They are in ${dead_letters_topic}. Unfold a record for the command that shows it.${none}`
    : "Not shown with --kafka_io=beam.");
  const make = (one) => {
    const copy = element("button", "", "Copy");
    copy.type = "button";
    copy.hidden = !navigator.clipboard; // which browsers give to this machine's own pages and to https only
    copy.addEventListener("click", () => navigator.clipboard.writeText(one.command).then(() => setText(copy, "Copied")));
    const folded = element("details", "", element("summary", "", one.source), element("code", "", one.command), " ", copy, element("div"));
    return row(folded, cell(element("span", "text", textOf(one.key))), cell(one.class), cell(one.stage),
      cell(element("span", "text", one.message)), cell(time(one.at)));
  };
  showRows($("dead"), dead_letters, (one) => `${one.source} ${one.at}`, make, (shown, one) => {
    if (one.picture || one.input !== null) showInput(shown.querySelector("details").lastElementChild, one);
  });
}

look();
