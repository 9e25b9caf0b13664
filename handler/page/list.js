// The list of all images: a row for each, sorted and filtered.

import { alternatives, bandOf, isBinary, isForced, known, labelsOf, mainProbability, percent, summary } from "./answer.js";
import { $, element, paintBar } from "./elements.js";

const LONG = 5; // rows from which on sorting and filtering are offered

/** Make the row of an item. */
export function addRow(item, onSelect) {
  item.row = $("row").content.firstElementChild.cloneNode(true);
  const image = item.row.querySelector("img");
  image.onerror = () => (image.hidden = true);
  image.onload = () => (image.hidden = false);
  image.src = item.url;
  item.row.querySelector(".row-name").textContent = item.name;
  item.row.firstElementChild.onclick = onSelect;
}

export function paintRow(item, isSelected) {
  const { tone, tag, p } = summary(item);
  const binary = item.state === "done" && isBinary(item);
  // A number needs its label in the tag. Where the tag is "Uncertain" and the number has no fixed label, the row
  // gives the labels that remain.
  const shown = p !== undefined && (binary || !item.prediction.uncertain);
  const words = p === undefined || shown ? "" : alternatives.format(item.prediction.prediction_set);
  const find = (selector) => item.row.querySelector(selector);
  find(".row").className = `row ${tone}`;
  find(".row").ariaCurrent = isSelected;
  const count = (item.state === "done" && item.prediction.warnings.length) || 0;
  find(".row-forced").hidden = !isForced(item);
  find(".row-warnings").hidden = !count;
  find(".row-warnings span").textContent = count === 1 ? "1 warning" : `${count} warnings`;
  find(".tag use").setAttribute("href", `#i-${tone}`);
  find(".tag span").textContent = tag;
  find(".row-percent").textContent = shown ? percent(p) : words;
  find(".row-percent").classList.toggle("words", Boolean(words));
  find(".row-bar").hidden = !shown;
  if (shown) paintBar(find(".row-bar"), p, binary ? item.prediction.threshold : undefined, binary ? bandOf(item) : null);
  if (item.unseen && item.prediction?.preview) find("img").src = `data:image/png;base64,${item.prediction.preview}`;
}

// ---------- order and filter

const byName = new Intl.Collator("en", { numeric: true });
/** Numbers from high to low; images without an answer last. */
const byNumber = (number) => (a, b) => (number(b) ?? -1) - (number(a) ?? -1);

const ORDERS = {
  newest: () => 0,
  name: (a, b) => byName.compare(a.name, b.name),
  answer: (a, b) => byName.compare(answerOf(a) ?? "\uffff", answerOf(b) ?? "\uffff") || ORDERS.probability(a, b),
  probability: byNumber(mainProbability),
};

/** The label of an answer; none if it is uncertain, or if there is no answer. */
const answerOf = ({ state, prediction }) => (state === "done" && !prediction.uncertain ? prediction.label : undefined);

const FILTERS = {
  all: () => true,
  uncertain: ({ state, prediction }) => state === "done" && prediction.uncertain,
  warned: ({ state, prediction }) => state === "done" && prediction.warnings.length > 0,
  failed: ({ state }) => state === "failed",
};

/** Which items the filter lets through. What is no name of a filter is `=` and a label. */
const isWanted = (wanted) => FILTERS[wanted] ?? ((item) => answerOf(item) === wanted.slice(1));

/** Put the rows in order and hide those that are filtered out.
 *
 * @param items newest first */
export function arrange(items) {
  paintTools(items);
  const rows = items.toSorted(ORDERS[$("sort").value]).map(({ row }) => row);
  const wanted = isWanted($("filter").value);
  for (const item of items) item.row.hidden = !wanted(item);
  const hidden = items.filter(({ row }) => row.hidden).length;
  const scored = items.filter(({ state }) => state === "done").length;
  $("count").textContent = `${scored} of ${items.length} scored${hidden ? `, ${items.length - hidden} shown` : ""}`;
  if (rows.every((row, i) => row === $("list").children[i])) return;
  const focused = document.activeElement;
  $("list").replaceChildren(...rows);
  if ($("list").contains(focused)) focused.focus(); // a row that moves loses the focus
}

function paintTools(items) {
  $("tools").hidden = items.length < LONG;
  if ($("tools").hidden) $("sort").value = "newest";
  if ($("tools").hidden) $("filter").value = "all";
  const answered = items.filter(({ state }) => state === "done");
  const labels = [...new Set([known.card.labels ?? [], ...answered.map(labelsOf)].flat())];
  const group = $("filter-labels");
  if (labels.join("\n") === [...group.children].map(({ label }) => label).join("\n")) return;
  const chosen = $("filter").value;
  group.replaceChildren(
    ...labels.map((label) => {
      const option = element("option", label);
      option.value = `=${label}`;
      return option;
    }),
  );
  $("filter").value = chosen;
  if (!$("filter").value) $("filter").value = "all";
}
