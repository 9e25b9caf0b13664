// The viewer: the selected image with its map, and its answer.

import { BODY_LIMIT } from "./service.js";
import { areEquallyFrequent, assumed, bandOf, cardOf, detailOf, isBinary, isForced, isNotAnXray, labelsOf, marksOf, meaning, megabytes, percent, placeOf, remaining, round, summary, together } from "./answer.js";
import { $, definitions, paintMeter, show, tableRow } from "./elements.js";

let shown = null; // the item that stands in the viewer

/** Show an item: its image on the left, its answer on the right. */
export function paintReading(item) {
  shown = item;
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

/** Show nothing. */
export function clearReading() {
  shown = null;
  $("preview").removeAttribute("src");
  $("overlay").removeAttribute("src");
}

function paintAnswer(item, { tone, long, label, p }) {
  const { prediction } = item;
  $("verdict-icon").setAttribute("href", `#i-${tone}`);
  $("verdict").textContent = long;
  $("forced").hidden = !isForced(item);
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
  $("facts").replaceChildren(...definitions(facts));
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

function paintProblem({ problem, file }) {
  const { status, wait, instance } = problem;
  const transient = status === 0 || status === 408 || status === 429 || status >= 500;
  const maybeSize = file.size > BODY_LIMIT && (status === 0 || status === 413 || status >= 500);
  $("problem-title").textContent = problem.title;
  $("problem-detail").textContent = detailOf(problem);
  show("problem-hint", [
    maybeSize && `The file has ${megabytes(file.size)}; behind AWS Lambda at most about 4.5\u00a0MB get through.${status === 413 ? "" : " Export it as JPEG or scale it down."}`,
    /^\d+$/.test(wait ?? "") && `The service asks to wait ${wait}\u00a0s.`,
  ].filter(Boolean).join(" "));
  $("force").hidden = !isNotAnXray(problem);
  $("retry").hidden = !transient;
  show("problem-code", [status && `Status ${status}`, instance].filter(Boolean).join(" · "));
}

/** The file itself, or what the network saw of it where the browser cannot show the file. */
function paintImage() {
  const { name, dicom, unseen, url, prediction } = shown;
  const seen = unseen ? shown.state === "done" && prediction.preview : null;
  const source = unseen ? (seen ? `data:image/png;base64,${seen}` : "") : url;
  shown.source = source;
  $("preview").hidden = !source;
  if (source && $("preview").src !== source) $("preview").src = source;
  $("preview").alt = seen ? `What the network saw of ${name}` : `Preview of ${name}`;
  const cannot = dicom ? "Browsers cannot show DICOM." : "This browser cannot show this file.";
  const marks = marksOf(shown);
  const mapped = marks && $("map-on").checked;
  show("no-preview", unseen && !seen ? `${cannot}${mapped ? " The map stands alone." : ""}` : "");
  show("seen", seen ? `${cannot} This is what the network saw: a small square without the frame of the image.` : "");
  paintMapOver(marks, mapped);
}

function paintMapOver(marks, mapped) {
  $("stack").style.setProperty("--ratio", shown.ratio ?? 1);
  $("stack").classList.toggle("mapped", Boolean(mapped));
  const source = `data:image/png;base64,${marks?.overlay}`;
  if (marks && $("overlay").src !== source) $("overlay").src = source; // decoded once, not at every step of the slider
  $("overlay").alt = marks ? `Heat map of ${shown.name}: strongest at the ${placeOf(marks)}` : "";
  $("overlay").hidden = !mapped;
  $("opacity").disabled = !$("map-on").checked;
  $("opacity-value").textContent = `${$("opacity").value} %`;
  $("opacity").setAttribute("aria-valuetext", `${$("opacity").value} percent`);
  $("viewer").style.setProperty("--opacity", $("opacity").value / 100);
}

$("preview").onload = ({ target }) => {
  if (target.src !== shown?.source) return;
  shown.ratio = target.naturalWidth / target.naturalHeight;
  if (target.src === shown.url) shown.size = `${target.naturalWidth} × ${target.naturalHeight}`;
  paintReading(shown);
};
$("preview").onerror = ({ target }) => {
  if (target.src !== shown?.url) return;
  shown.unseen = true;
  paintReading(shown);
};
$("overlay").onload = ({ target }) => {
  if (shown?.unseen) shown.ratio = target.naturalWidth / target.naturalHeight;
  if (shown) $("stack").style.setProperty("--ratio", shown.ratio ?? 1);
};
$("map-on").onchange = $("opacity").oninput = paintImage;
