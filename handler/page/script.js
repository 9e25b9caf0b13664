// The page of the service. What it knows lives in the memory of its modules and ends with the tab: nothing is stored.
// Styles are set through properties only and texts through textContent, so a strict content security policy holds
// and no answer or file name can become markup.

import { detailOf, known, percent, remaining, summary } from "./answer.js";
import { paintCard } from "./card.js";
import { $, show } from "./elements.js";
import { load, offerExamples } from "./examples.js";
import { addRow, arrange, paintRow } from "./list.js";
import { clearReading, paintReading } from "./reading.js";
import { asJson, asTable, save } from "./results.js";
import { ask } from "./service.js";

const AT_ONCE = 2; // requests in flight

const items = []; // newest batch first
let selected = null;
let running = 0;

// ---------- scoring

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
  for (const item of batch) addRow(item, () => select(item));
  items.unshift(...batch);
  for (const item of batch) paintRow(item, false);
  document.body.classList.add("busy");
  $("visit").hidden = false;
  show("trouble", "");
  select(batch[0]);
  next();
}

function clear() {
  for (const item of items.splice(0)) {
    item.abort.abort();
    URL.revokeObjectURL(item.url);
  }
  selected = null;
  arrange(items);
  clearReading();
  $("viewer").hidden = $("visit").hidden = true;
  document.body.classList.remove("busy");
  say("The list is empty.");
  $("files").focus();
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
  const result = item.state === "done" ? `${long}.${doubt} ${percent(p)} probability of ${label}.${warnings}` : `Not scored. ${long}. ${detailOf(item.problem)}`;
  say(`${item.name}: ${result}${open ? ` ${open} to go.` : ""}`);
}

function paint(item) {
  paintRow(item, item === selected);
  if (item === selected) paintReading(item);
  show("told", "");
  arrange(items);
}

function select(item) {
  const before = selected;
  selected = item;
  if (before && items.includes(before)) paintRow(before, false);
  $("viewer").hidden = false;
  paint(item);
  // Where the answer stands below the image, it is the answer that must be in sight.
  const [viewer, reading] = ["viewer", "reading"].map((id) => $(id).getBoundingClientRect().top);
  if (viewer < 0 || reading > 0.6 * innerHeight) $("viewer").scrollIntoView();
}

// ---------- wiring

$("files").onchange = $("camera").onchange = ({ target }) => {
  add(target.files);
  target.value = ""; // so that the same file can be chosen again
};
$("phantom").onclick = () => load("page/phantom.png", "synthetic-phantom.png", (file) => add([file]));
$("clear").onclick = clear;
$("force").onclick = () => again(true);
$("retry").onclick = () => again(false);
$("drop").onsubmit = $("tools").onsubmit = (event) => event.preventDefault();
$("sort").onchange = $("filter").onchange = () => arrange(items);

// A byte order mark, so that spreadsheets read UTF-8.
$("save-csv").onclick = () => save("results.csv", "text/csv", `\ufeff${asTable(items)}`);
$("save-json").onclick = () => save("results.json", "application/json", asJson(items));
$("print").onclick = () => print();
$("copy").hidden = !navigator.clipboard; // absent without TLS
$("copy").onclick = async () => {
  try {
    await navigator.clipboard.writeText(asTable(items, "\t"));
    show("told", "The table is in the clipboard.");
  } catch {
    show("told", "The browser does not allow copying here. Save a file instead.");
  }
};

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

for (const link of document.querySelectorAll("a.to-card")) {
  link.onclick = (event) => {
    if ($("card").hidden) return; // the link leads to the card as JSON
    event.preventDefault();
    $("card").open = true;
    $("card").scrollIntoView();
    $("card").querySelector("summary").focus();
  };
}

// The page works without; each answer names its model again.
fetch("v1/model")
  .then((response) => (response.ok ? response.json() : Promise.reject(response)))
  .then((card) => {
    known.card = card;
    $("model").textContent = `${card.name} ${card.version}`;
    document.title = $("title").textContent = card.title;
    for (const item of items) paint(item);
    paintCard(card);
    return offerExamples(card, (file) => add([file]));
  })
  .catch(() => {});
