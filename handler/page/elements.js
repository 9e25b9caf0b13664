// What several parts of the page draw with.

import { percent, round } from "./answer.js";

export const $ = (id) => document.getElementById(id);

export function show(id, text) {
  $(id).textContent = text;
  $(id).hidden = !text;
}

export function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

/** The terms and descriptions of a list, without those that have no description. */
export const definitions = (pairs) => pairs.filter(([, value]) => value).flatMap(([name, value]) => [element("dt", name), element("dd", value)]);

export function tableRow(names, texts) {
  const row = document.createElement("tr");
  row.append(
    ...names.map((name, i) => {
      const cell = element(name, texts[i]);
      if (name === "th") cell.scope = names.every((other) => other === "th") ? "col" : "row";
      return cell;
    }),
  );
  return row;
}

/** A bar up to `value`, with a mark at the threshold if there is one, and hatched in the band if there is one. */
export function paintBar(bar, value, threshold, band) {
  const [from, to] = band ?? [0, 0];
  for (const [name, number] of Object.entries({ value, threshold: threshold ?? 0, from, to })) bar.style.setProperty(`--${name}`, `${number * 100}%`);
  bar.classList.toggle("marked", threshold !== undefined);
  bar.replaceChildren(document.createElement("i"));
}

export function paintMeter(bar, value, threshold, band) {
  paintBar(bar, value, threshold, band);
  bar.setAttribute("aria-valuenow", (value * 100).toFixed(1));
  bar.setAttribute("aria-valuetext", threshold === undefined ? percent(value) : `${percent(value)}, threshold ${round(threshold)}`);
}
