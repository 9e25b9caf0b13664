// The model card of `v1/model` in headings, tables and lists.

import { percent, round, total } from "./answer.js";
import { $, definitions, element, tableRow } from "./elements.js";

const NAMES = { auc: "AUC", ece: "Expected calibration error", brier: "Brier score" };
const SHARES = ["accuracy", "sensitivity", "specificity", "balanced_accuracy"]; // shown in percent, also by class
const COUNTS = ["n", "patients", "trained_on", "threshold"];

const isShare = (name) => SHARES.some((share) => name === share || name.startsWith(`${share}_`));
const isNumber = (value) => typeof value === "number";

/** Fill and show the section. */
export function paintCard(card) {
  $("card-texts").replaceChildren(
    element("p", "", ...prose(card.disclaimer)),
    element("dl", "", ...definitions([
      ["Model", `${card.name} ${card.version}`],
      ["Training data", card.source],
      ["Licence of the weights", card.license],
      ["Input", `${card.input.size} × ${card.input.size} pixels`],
      ["SHA-256", card.sha256],
    ])),
    ...titled("Intended use", element("p", "", ...prose(card.intended_use))),
    ...titled("Limits", element("ul", "", ...card.limits.map((limit) => element("li", "", ...prose(limit))))),
    ...titled("From probability to answer", element("p", ruleOf(card)), labelsTable(card), ...calibrationOf(card)),
    ...results(card),
  );
  $("card").hidden = false;
}

/** Text with commands in backticks. */
const prose = (text) => text.split("`").map((part, i) => (i % 2 ? element("code", part) : part));
const titled = (title, ...parts) => [element("h3", title), ...parts];

function ruleOf({ positive_label: positive, threshold, set_coverage: coverage }) {
  const answer = positive ? `From a probability of ${round(threshold)} the answer is ${positive}.` : "The answer is the most probable class.";
  return `${answer} A class cannot be excluded if its probability reaches the value in the table. With these values, the true class remained for ${round(coverage)} of the validation images of each class. An answer is uncertain unless it is the only class that cannot be excluded.`;
}

function labelsTable({ labels, set_thresholds: least, prevalence }) {
  return table("Thresholds for equally frequent classes. The assumed share shifts the probabilities.", ["Class", "Cannot be excluded from", "Assumed share"], labels.map((label) => [label, round(least[label]), round(prevalence[label])]));
}

function calibrationOf({ calibration }) {
  return calibration ? [element("p", `Calibrated with ${total(calibration.images)} images of this place.`)] : [];
}

/** The evaluations on images that the model did not learn from, or, where there is none, the results of the training. */
function results({ metrics }) {
  const measured = Object.entries(metrics).filter(([, result]) => isNumber(result?.n));
  const shown = measured.length ? measured : Object.entries(metrics).filter(([name, result]) => name === "validation" && isNumber(result?.auc));
  if (!shown.length) return [];
  const names = [...new Set(shown.flatMap(([, result]) => Object.keys(result).filter((name) => isNumber(result[name]) && !COUNTS.includes(name))))];
  const heads = shown.map(([name, { n, patients, split }]) => [nameOf(split ?? name), n && `: ${n} images of ${patients} patients`].filter(Boolean).join(""));
  const rows = names.map((name) => [nameOf(name), ...shown.map(([, result]) => valueOf(name, result))]);
  const tables = shown.filter(([, { confusion, labels }]) => confusion && labels).map(([name, result]) => confusionTable(name, result));
  return titled("Results", table("In brackets: 95 % intervals.", ["Measure", ...heads], rows), ...tables);
}

function nameOf(name) {
  const words = NAMES[name] ?? name.replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}

function valueOf(name, result) {
  const written = (value) => (isShare(name) ? percent(value) : value.toFixed(3));
  if (!isNumber(result[name])) return "";
  const interval = result.intervals?.[name];
  return interval ? `${written(result[name])} (${interval.map(written).join(" to ")})` : written(result[name]);
}

function confusionTable(name, { confusion, labels, split }) {
  return table(`Number of ${split ?? name} images by true class and answer.`, ["True class", ...labels.map((label) => `Answer ${label}`)], confusion.map((row, i) => [labels[i], ...row]));
}

function table(caption, head, rows) {
  const cells = head.map((_, i) => (i ? "td" : "th"));
  return element("table", undefined, element("caption", caption), element("thead", undefined, tableRow(head.map(() => "th"), head)), element("tbody", undefined, ...rows.map((row) => tableRow(cells, row))));
}
