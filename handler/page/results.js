// The results as CSV, as JSON and as text for the clipboard.

import { isForced, labelsOf } from "./answer.js";

/** One flat record for each item, for JSON. Images are left out. */
export function asJson(items) {
  return JSON.stringify(items.map(record), null, 2) + "\n";
}

function record(item) {
  const { explanation, preview, ...prediction } = item.prediction ?? {};
  const { overlay, ...map } = explanation ?? {};
  const common = { file: item.name, forced: isForced(item), model: item.model, request_id: item.request };
  if (item.state !== "done") return { file: item.name, error: errorOf(item) };
  return { ...common, ...prediction, ...(explanation && { explanation: map }) };
}

function errorOf({ state, problem }) {
  if (state === "failed") return { type: problem.type, title: problem.title, detail: problem.detail, status: problem.status };
  return { title: "Not scored yet" };
}

/** A table with a column for the probability of each label.
 *
 * @param separator a comma for CSV; a tabulator for spreadsheets that read the clipboard */
export function asTable(items, separator = ",") {
  const labels = [...new Set(items.filter(({ state }) => state === "done").flatMap(labelsOf))];
  const head = ["file", "label", ...labels.map((label) => `probability ${label}`), "uncertain", "prediction_set", "warnings", "distance", "forced", "error", "model", "request_id"];
  const rows = items.map((item) => {
    if (item.state !== "done") {
      const { title, detail } = errorOf(item);
      return [item.name, "", ...labels.map(() => ""), "", "", "", "", "", [title, detail].filter(Boolean).join(": "), "", ""];
    }
    const { label, probabilities, uncertain, prediction_set, warnings, distance } = item.prediction;
    const { name, version } = item.model ?? {};
    const codes = warnings.map(({ code }) => code).join("; ");
    return [item.name, label, ...labels.map((one) => probabilities[one] ?? ""), uncertain, prediction_set.join("; "), codes, distance ?? "", isForced(item), "", [name, version].filter(Boolean).join(" "), item.request ?? ""];
  });
  return [head, ...rows].map((row) => row.map(cell).join(separator)).join("\r\n") + "\r\n";
}

/** A cell in quotes. Spreadsheets run a text that looks like a formula, and a file name may be one: an apostrophe in front
 * makes it text. */
function cell(value) {
  if (typeof value !== "string") return String(value);
  const text = /^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/.test(value) ? `'${value}` : value;
  return `"${text.replaceAll('"', '""')}"`;
}

/** Let the browser save a text as a file. */
export function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
