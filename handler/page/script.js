// The page of the service. What it knows lives in this module's memory and ends with the tab: nothing is stored.
// Styles are set through properties only and texts through textContent, so a strict content security policy holds
// and no answer or file name can become markup.

const BODY_LIMIT = 4.5e6; // bytes of a file that AWS Lambda still accepts, after base64
const AT_ONCE = 2; // requests in flight

const $ = (id) => document.getElementById(id);
const items = []; // newest batch first
let selected = null;
let running = 0;
let card = {}; // what v1/model says, once it has said it

// ---------- words and numbers

const percent = (p) => (p > 0.9995 ? ">\u00a099.9\u00a0%" : p > 0 && p < 0.0005 ? "<\u00a00.1\u00a0%" : `${(p * 100).toFixed(1)}\u00a0%`);
const round = (p) => `${+(p < 0.1 ? (p * 100).toPrecision(2) : (p * 100).toFixed(1))}\u00a0%`;
const megabytes = (bytes) => (bytes < 1e5 ? `${Math.ceil(bytes / 1e3)}\u00a0kB` : `${(bytes / 1e6).toFixed(1)}\u00a0MB`);
const alternatives = new Intl.ListFormat("en", { type: "disjunction" });
const together = new Intl.ListFormat("en", { type: "conjunction" });
const twoDigits = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });

/** The model card, unless another model made this prediction. */
const cardOf = ({ model }) => (model?.sha256 === card.sha256 ? card : {});
/** Labels as the card orders them; objects put those that look like numbers first. */
const labelsOf = (item) => cardOf(item).labels ?? Object.keys(item.prediction.probabilities);
/** Two labels have a threshold on the positive one. */
const isBinary = ({ prediction }) => typeof prediction.threshold === "number";
/** The label whose probability stands for an answer: the positive one of two, or the answer with more. */
const mainLabel = (item) => (isBinary(item) ? (cardOf(item).positive_label ?? item.prediction.explanation?.label ?? labelsOf(item).at(-1)) : item.prediction.label);

/** Whether the probabilities assume equally frequent classes, as the card's `set_thresholds` do. */
function areEquallyFrequent({ prediction }) {
  const shares = Object.values(prediction.prevalence);
  return Math.max(...shares) - Math.min(...shares) < 1e-6;
}

/** Of two labels: the probabilities of the positive one between which neither can be excluded, for the prevalence that
 * the answer assumes. */
function bandOf(item) {
  const least = cardOf(item).set_thresholds;
  if (!least) return null;
  const [negative, positive] = labelsOf(item);
  const band = [least[positive], 1 - least[negative]];
  const q = item.prediction.prevalence[positive];
  return band[0] < band[1] ? band.map((p) => (p * q) / (p * q + (1 - p) * (1 - q))) : null;
}

/** Which labels remain, as a sentence. */
function remaining({ prediction_set: labels = [] }) {
  if (labels.length) return `${alternatives.format(labels)} cannot be excluded.`;
  return "Every class can be excluded: the image may differ from the training images.";
}

/** For which frequencies of the classes, and with whose images, the probabilities are calibrated. */
function assumed(item) {
  const { prevalence } = item.prediction;
  const { calibration } = cardOf(item);
  const label = mainLabel(item);
  const [subject, rest] = isBinary(item)
    ? ["The probability is", ` Where ${label} is rarer, the probability is lower.`]
    : ["The probabilities are", ""];
  const shares = (isBinary(item) ? [label] : labelsOf(item)).map((name) => `${round(prevalence[name])} ${name}`);
  const frequencies = areEquallyFrequent(item)
    ? `${subject} given as if all classes were equally frequent.${rest}`
    : `${subject} for ${shares.length > 1 ? "shares" : "a share"} of ${together.format(shares)}.`;
  return calibration ? `${frequencies} Calibrated with ${total(calibration.images)} images of this place.` : frequencies;
}

const total = (images) => Object.values(images).reduce((sum, count) => sum + count, 0);

/** The largest fall of the log odds in an explanation. */
const strongest = ({ map }) => Math.max(...map.flat());
/** The explanation of an item if it marks anything. */
function marksOf({ state, prediction }) {
  const explanation = state === "done" ? prediction.explanation : null;
  return explanation && strongest(explanation) >= explanation.floor ? explanation : null;
}

/** Where the strongest mark is, for those who do not see it. */
function placeOf({ map }) {
  const most = strongest({ map });
  const row = map.findIndex((values) => values.includes(most));
  const third = (index, count, names) => names[Math.floor((3 * (index + 0.5)) / count)];
  const [down, across] = [third(row, map.length, ["upper", "middle", "lower"]), third(map[row].indexOf(most), map[row].length, ["left", "centre", "right"])];
  return `${down} ${across}`;
}

/** What the map shows, in plain sentences. */
function meaning(explanation) {
  const { label, floor } = explanation;
  const most = strongest(explanation);
  if (most < floor) return `The map is empty: no single region changes the answer much. Blurring one lowers the log odds of ${label} by less than ${floor}. An empty map does not mean that the image is normal.`;
  return `Blurring the region of the strongest mark lowers the log odds of ${label} by ${most.toFixed(1)}: the odds become ${twoDigits.format(Math.exp(most))} times smaller. The marks are coarse and do not outline disease.`;
}

/** What is to be said about an item in one word and one sentence, and in which tone. */
function summary(item) {
  const { state, prediction, problem } = item;
  if (state === "done") {
    const label = mainLabel(item);
    const p = prediction.probabilities[label];
    if (prediction.uncertain) return { tone: "uncertain", tag: "Uncertain", long: "Uncertain: have it read", label, p };
    const tone = !isBinary(item) ? "neutral" : prediction.label === label ? "positive" : "negative";
    return { tone, tag: prediction.label, long: prediction.label, label, p };
  }
  if (state === "failed") return { tone: "problem", tag: "Not scored", long: problem.title };
  return { tone: "waiting", tag: state === "scoring" ? "Scoring…" : "Waiting", long: state === "scoring" ? "Scoring…" : "Waiting its turn" };
}

// ---------- talking to the service

const BY_STATUS = {
  401: ["The service wants credentials", "It is set up to answer signed requests only, which this page cannot send."],
  413: ["The file is too large for this service", "Export it as JPEG or scale it down, then send it again."],
  429: ["The service is busy", "More requests arrive than it may answer. Wait a moment and try again."],
  503: ["The service is not ready", "It may be starting up. Wait a moment and try again."],
};
BY_STATUS[403] = BY_STATUS[401];
BY_STATUS[502] = BY_STATUS[504] = BY_STATUS[503];

/** Any failed answer as problem details; gateways in front of the service speak HTML or JSON of their own. */
function asProblem(status, body, headers) {
  const [name, detail] = BY_STATUS[status] ?? [`The service answered with status ${status}`, "Its answer gives no reason."];
  const known = body && typeof body.title === "string";
  return {
    type: known ? String(body.type ?? "") : "",
    title: known ? body.title : name,
    detail: known ? String(body.detail ?? "") : detail,
    status: (known && body.status) || status,
    instance: (known && (body.instance || body.request_id)) || "",
    wait: headers?.get("retry-after"),
  };
}

async function ask(item) {
  try {
    item.dicom = (await item.file.slice(128, 132).text()) === "DICM"; // also proves that the file can be read
  } catch {
    throw { title: "The file could not be read", detail: "It may be a folder, or it was moved or changed after you chose it." };
  }
  const form = new FormData();
  form.append("file", item.file, "image"); // names of files often are names of patients: they stay here
  let response;
  try {
    response = await fetch(`v1/predictions?explain=true${item.force ? "&force=true" : ""}`, {
      method: "POST",
      body: form,
      headers: { accept: "application/json, application/problem+json" },
      signal: item.abort.signal,
    });
  } catch {
    throw { title: "The service could not be reached", detail: "The connection failed before an answer came.", status: 0 };
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) throw asProblem(response.status, body, response.headers);
  const prediction = body?.predictions?.[0];
  if (prediction?.error) throw asProblem(prediction.error.status, prediction.error, response.headers);
  if (!prediction?.probabilities || !prediction.prevalence || !prediction.warnings) {
    throw { title: "The answer could not be understood", detail: "Something between this page and the service changed it, or the service has been updated: reload the page.", status: response.status };
  }
  return { prediction, model: body.model, request: body.request_id };
}

async function score(item) {
  running += 1;
  item.state = "scoring";
  paint(item);
  try {
    Object.assign(item, await ask(item), { state: "done" });
  } catch (problem) {
    Object.assign(item, { problem, state: "failed" });
  }
  running -= 1;
  if (items.includes(item)) {
    paint(item);
    announce(item);
  }
  next();
}

function next() {
  // Rows stand newest batch first and in order within it; whoever came first is served first.
  const waiting = items.filter((item) => item.state === "waiting").sort((a, b) => a.number - b.number);
  for (const item of waiting.slice(0, Math.max(0, AT_ONCE - running))) score(item);
}

function again(force) {
  Object.assign(selected, { state: "waiting", force: force || selected.force, problem: null });
  $("reading").focus(); // the button that was pressed goes away
  paint(selected);
  next();
}

// ---------- images come and go

let counter = 0;

function add(files) {
  const batch = [...files].map((file) => ({
    file, name: file.name || "Image", number: counter++, state: "waiting", url: URL.createObjectURL(file), abort: new AbortController(),
  }));
  if (!batch.length) return;
  batch.forEach(addRow);
  items.unshift(...batch);
  $("list").prepend(...batch.map((item) => item.row));
  document.body.classList.add("busy");
  $("visit").hidden = false;
  select(batch[0]);
  next();
}

function clear() {
  for (const item of items.splice(0)) {
    item.abort.abort();
    URL.revokeObjectURL(item.url);
  }
  selected = null;
  $("list").replaceChildren();
  $("preview").removeAttribute("src");
  $("overlay").removeAttribute("src");
  $("viewer").hidden = $("visit").hidden = true;
  document.body.classList.remove("busy");
  say("The list is empty.");
  $("files").focus();
}

async function addPhantom() {
  try {
    const response = await fetch("page/phantom.png");
    if (!response.ok) throw response;
    add([new File([await response.blob()], "synthetic-phantom.png", { type: "image/png" })]);
  } catch {
    show("trouble", "The synthetic image could not be loaded. Choose an image of your own.");
    say($("trouble").textContent);
  }
}

// ---------- showing

function say(text) {
  $("status").textContent = text;
}

function announce(item) {
  const { long, p, label } = summary(item);
  const open = items.filter(({ state }) => state === "waiting" || state === "scoring").length;
  const doubt = item.prediction?.uncertain ? ` ${remaining(item.prediction)}` : "";
  const warnings = (item.prediction?.warnings ?? []).map(({ detail }) => ` Warning: ${detail}`).join("");
  const result = item.state === "done" ? `${long}.${doubt} ${percent(p)} probability of ${label}.${warnings}` : `Not scored. ${long}. ${item.problem.detail}`;
  say(`${item.name}: ${result}${open ? ` ${open} to go.` : ""}`);
}

function show(id, text) {
  $(id).textContent = text;
  $(id).hidden = !text;
}

function addRow(item) {
  item.row = $("row").content.firstElementChild.cloneNode(true);
  const image = item.row.querySelector("img");
  image.onerror = () => image.remove();
  image.src = item.url;
  item.row.querySelector(".row-name").textContent = item.name;
  item.row.firstElementChild.onclick = () => select(item);
  paintRow(item);
}

function paint(item) {
  paintRow(item);
  if (item === selected) paintReading();
  const scored = items.filter(({ state }) => state === "done").length;
  $("count").textContent = `${scored} of ${items.length} scored`;
}

/** A bar up to `value`, with a mark at the threshold if there is one, and hatched in the band if there is one. */
function paintBar(bar, value, threshold, band) {
  const [from, to] = band ?? [0, 0];
  for (const [name, number] of Object.entries({ value, threshold: threshold ?? 0, from, to })) bar.style.setProperty(`--${name}`, `${number * 100}%`);
  bar.classList.toggle("marked", threshold !== undefined);
  bar.replaceChildren(document.createElement("i"));
}

function paintMeter(bar, value, threshold, band) {
  paintBar(bar, value, threshold, band);
  bar.setAttribute("aria-valuenow", (value * 100).toFixed(1));
  bar.setAttribute("aria-valuetext", threshold === undefined ? percent(value) : `${percent(value)}, threshold ${round(threshold)}`);
}

function paintRow(item) {
  const { tone, tag, p } = summary(item);
  const binary = item.state === "done" && isBinary(item);
  // A number needs its label in the tag. Where the tag is "Uncertain" and the number has no fixed label, the row
  // gives the labels that remain.
  const shown = p !== undefined && (binary || !item.prediction.uncertain);
  const words = p === undefined || shown ? "" : alternatives.format(item.prediction.prediction_set);
  const find = (selector) => item.row.querySelector(selector);
  find(".row").className = `row ${tone}`;
  find(".row").ariaCurrent = item === selected;
  const count = (item.state === "done" && item.prediction.warnings.length) || 0;
  find(".row-warnings").hidden = !count;
  find(".row-warnings span").textContent = count === 1 ? "1 warning" : `${count} warnings`;
  find(".tag use").setAttribute("href", `#i-${tone}`);
  find(".tag span").textContent = tag;
  find(".row-percent").textContent = shown ? percent(p) : words;
  find(".row-percent").classList.toggle("words", Boolean(words));
  find(".row-bar").hidden = !shown;
  if (shown) paintBar(find(".row-bar"), p, binary ? item.prediction.threshold : undefined, binary ? bandOf(item) : null);
}

function select(item) {
  const before = selected;
  selected = item;
  if (before && items.includes(before)) paintRow(before);
  $("viewer").hidden = false;
  $("preview").hidden = item.preview === false;
  $("preview").src = item.url;
  paint(item);
  // Where the answer stands below the image, it is the answer that must be in sight.
  const [viewer, reading] = ["viewer", "reading"].map((id) => $(id).getBoundingClientRect().top);
  if (viewer < 0 || reading > 0.6 * innerHeight) $("viewer").scrollIntoView();
}

function paintReading() {
  const item = selected;
  const said = summary(item);
  $("reading").className = `reading ${said.tone}`;
  $("name").textContent = item.name;
  $("pending").hidden = item.state !== "waiting" && item.state !== "scoring";
  $("answer").hidden = item.state !== "done";
  $("problem").hidden = item.state !== "failed";
  if (item.state === "done") paintAnswer(item, said);
  else if (item.state === "failed") paintProblem(item);
  else {
    $("pending-title").textContent = said.long;
    $("pending-hint").textContent = item.file.size > BODY_LIMIT ? `${megabytes(item.file.size)} take a while; behind AWS Lambda the limit is about 4.5\u00a0MB.` : "";
  }
  paintImage();
}

function paintAnswer(item, { tone, long, label, p }) {
  const { prediction } = item;
  $("verdict-icon").setAttribute("href", `#i-${tone}`);
  $("verdict").textContent = long;
  $("two").hidden = !isBinary(item);
  $("more").hidden = isBinary(item);
  if (isBinary(item)) paintTwo(item, label, p);
  else paintMore(item, label);
  $("assumed").textContent = assumed(item);
  paintWarnings(item);
  paintMap(item);
  paintFacts(item);
  paintValues(item);
}

function paintWarnings({ prediction }) {
  $("warnings").hidden = !prediction.warnings.length;
  $("warnings").replaceChildren(
    ...prediction.warnings.map(({ detail }) => {
      const warning = $("warning").content.firstElementChild.cloneNode(true);
      warning.querySelector("span").textContent = detail;
      return warning;
    }),
  );
}

/** What the heat map means, with its scale and controls if there is anything to see. */
function paintMap(item) {
  const { explanation } = item.prediction;
  $("map").hidden = !explanation;
  if (!explanation) return;
  const { floor, full } = explanation;
  $("map-tools").hidden = !marksOf(item);
  $("map-hint").textContent = meaning(explanation);
  $("map-floor").textContent = `${floor}, less is not shown`;
  $("map-full").textContent = `${full} or more`;
  $("map").style.setProperty("--start", floor / full);
}

/** Two labels: one bar for the positive one, with the threshold and the band in which neither can be excluded. */
function paintTwo(item, label, p) {
  const { prediction } = item;
  const band = bandOf(item);
  const words = band?.map(round).join(" to ");
  $("percent").textContent = percent(p);
  $("percent-of").textContent = `probability of ${label}`;
  paintMeter($("bar"), p, prediction.threshold, band);
  $("mark").textContent = `threshold ${round(prediction.threshold)}`;
  $("mark").parentNode.style.setProperty("--threshold", `${prediction.threshold * 100}%`);
  $("rule").textContent = prediction.uncertain
    ? `${remaining(prediction)} The probability lies in the hatched band${words ? `, ${words}` : ""}. By the threshold alone, the answer would be ${prediction.label}.`
    : `From the threshold upwards the answer is ${label}.`;
  show("band", prediction.uncertain || !words ? "" : `Hatched, ${words}: uncertain, have it read.`);
}

/** More labels: a bar for each, with a mark where it enters the prediction set. */
function paintMore(item, mostProbable) {
  const { prediction } = item;
  const { set_thresholds: least, set_coverage: coverage, calibration } = cardOf(item);
  const equal = areEquallyFrequent(item);
  $("more").replaceChildren(
    ...labelsOf(item).map((label) => {
      const row = $("class").content.firstElementChild.cloneNode(true);
      const p = prediction.probabilities[label];
      row.classList.toggle("excluded", !prediction.prediction_set.includes(label));
      row.querySelector(".class-name").textContent = label;
      row.querySelector(".class-percent").textContent = percent(p);
      const bar = row.querySelector(".bar");
      bar.ariaLabel = `probability of ${label}`;
      paintMeter(bar, p, equal ? least?.[label] : undefined);
      return row;
    }),
  );
  $("rule").textContent = prediction.uncertain
    ? `${remaining(prediction)} ${equal ? "The most probable class is" : "With equally frequent classes, the most probable one is"} ${mostProbable}.`
    : `${mostProbable} is ${equal ? "the most probable class, and " : ""}the only ${equal ? "one" : "class"} that cannot be excluded.`;
  if (least && !equal) show("band", "Which classes are excluded is decided as if all were equally frequent, so the bars have no marks.");
  else show("band", least ? `From its mark upwards, a class cannot be excluded. This keeps the right class for ${round(coverage)} of the ${calibration ? "calibration" : "validation"} images of each class.` : "");
}

function paintFacts(item) {
  const { file, prediction, size, request, model } = item;
  const { calibration } = cardOf(item);
  const ms = (value) => (value === undefined ? "" : `${value.toFixed(1)} ms`);
  const facts = [
    ...labelsOf(item).map((label) => [label, percent(prediction.probabilities[label])]),
    ["File", [megabytes(file.size), size].filter(Boolean).join(", ")],
    ["Decoding", ms(prediction.timings?.decode_ms)],
    ["Inference", ms(prediction.timings?.inference_ms)],
    ["Calibration", calibration ? `${together.format(Object.entries(calibration.images).map(([label, count]) => `${count} ${label}`))}, images of this place` : calibration === null ? "Validation images of the model" : ""],
    ["Model", [model?.name, model?.version].filter(Boolean).join(" ")],
    ["SHA-256", model?.sha256],
    ["Request", request],
  ];
  $("facts").replaceChildren(
    ...facts.filter(([, value]) => value).flatMap(([name, value]) => {
      const [term, description] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      description.textContent = value;
      return [term, description];
    }),
  );
}

/** Two labels: how often each is right, by prevalence. */
function paintValues(item) {
  const { predictive_values: rows = [], labels, calibration } = cardOf(item);
  const table = $("values");
  table.hidden = !rows.length;
  if (!rows.length) return;
  const [negative, positive] = labels;
  const texts = rows.map((row) => [round(row.prevalence), percent(row.positive_predictive_value), percent(row.negative_predictive_value)]);
  const [share, right, excluded] = texts[Math.floor(texts.length / 2)];
  table.caption.textContent =
    `Where ${share} of the images are ${positive}, ${right} of the answers ${positive} and ${excluded} of the answers ${negative} are right. ` +
    `This follows from the sensitivity and specificity ${calibration ? "that were measured with images of this place" : "in the model card"}.`;
  table.tHead.replaceChildren(tableRow(["th", "th", "th"], [`Share of ${positive}`, `${positive} is right`, `${negative} is right`]));
  table.tBodies[0].replaceChildren(...texts.map((row) => tableRow(["th", "td", "td"], row)));
}

function tableRow(names, texts) {
  const row = document.createElement("tr");
  row.append(
    ...names.map((name, i) => {
      const cell = document.createElement(name);
      if (name === "th") cell.scope = names.every((other) => other === "th") ? "col" : "row";
      cell.textContent = texts[i];
      return cell;
    }),
  );
  return row;
}

function paintProblem({ problem, file }) {
  const { type, status, wait, instance } = problem;
  const transient = status === 0 || status === 408 || status === 429 || status >= 500;
  const maybeSize = file.size > BODY_LIMIT && (status === 0 || status === 413 || status >= 500);
  const stranger = /not-an-xray\/?$/.test(type ?? "");
  $("problem-title").textContent = problem.title;
  // What follows tells programs how to insist; here is a button for that.
  $("problem-detail").textContent = stranger ? problem.detail?.split(";")[0] : problem.detail;
  show("problem-hint", [
    maybeSize && `The file has ${megabytes(file.size)}; behind AWS Lambda at most about 4.5\u00a0MB get through.${status === 413 ? "" : " Export it as JPEG or scale it down."}`,
    /^\d+$/.test(wait ?? "") && `The service asks to wait ${wait}\u00a0s.`,
  ].filter(Boolean).join(" "));
  $("force").hidden = !stranger;
  $("retry").hidden = !transient;
  show("problem-code", [status && `Status ${status}`, instance].filter(Boolean).join(" · "));
}

function paintImage() {
  const { preview, ratio, name, dicom } = selected;
  const marks = marksOf(selected);
  const shown = marks && $("map-on").checked;
  $("stack").style.setProperty("--ratio", ratio ?? 1);
  $("stack").classList.toggle("mapped", Boolean(shown));
  $("preview").alt = `Preview of ${name}`;
  show("no-preview", preview === false ? `${dicom ? "Browsers cannot show DICOM" : "This browser cannot show this file"}. ${shown ? "The map stands alone." : ""}` : "");
  const source = `data:image/png;base64,${marks?.overlay}`;
  if (marks && $("overlay").src !== source) $("overlay").src = source; // decoded once, not at every step of the slider
  $("overlay").alt = marks ? `Heat map of ${name}: strongest at the ${placeOf(marks)}` : "";
  $("overlay").hidden = !shown;
  $("opacity").disabled = !$("map-on").checked;
  $("opacity-value").textContent = `${$("opacity").value} %`;
  $("opacity").setAttribute("aria-valuetext", `${$("opacity").value} percent`);
  $("viewer").style.setProperty("--opacity", $("opacity").value / 100);
}

// ---------- wiring

$("preview").onload = ({ target }) => {
  if (target.src !== selected?.url) return;
  Object.assign(selected, { preview: true, ratio: target.naturalWidth / target.naturalHeight, size: `${target.naturalWidth} × ${target.naturalHeight}` });
  paintReading();
};
$("preview").onerror = ({ target }) => {
  if (target.src !== selected?.url) return;
  selected.preview = false;
  target.hidden = true;
  paintReading();
};
$("overlay").onload = ({ target }) => {
  if (selected && selected.preview === false) selected.ratio = target.naturalWidth / target.naturalHeight;
  if (selected) $("stack").style.setProperty("--ratio", selected.ratio ?? 1);
};
$("files").onchange = ({ target }) => {
  add(target.files);
  target.value = ""; // so that the same file can be chosen again
};
$("phantom").onclick = addPhantom;
$("clear").onclick = clear;
$("force").onclick = () => again(true);
$("retry").onclick = () => again(false);
$("map-on").onchange = $("opacity").oninput = paintImage;
$("drop").onsubmit = (event) => event.preventDefault();

// The whole window takes drops: an image that misses the frame must not replace the page.
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragover", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  $("drop").classList.add("over");
});
addEventListener("dragleave", (event) => event.relatedTarget || $("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  $("drop").classList.remove("over");
  if (!carriesFiles(event)) return;
  event.preventDefault();
  add(event.dataTransfer.files);
});
addEventListener("paste", (event) => add(event.clipboardData?.files ?? []));

fetch("v1/model")
  .then((response) => (response.ok ? response.json() : Promise.reject(response)))
  .then((answer) => {
    card = answer;
    $("model").textContent = `${card.name} ${card.version}`;
    document.title = $("title").textContent = card.title;
    items.forEach(paint);
  })
  .catch(() => {}); // the page works without; each answer names its model again
