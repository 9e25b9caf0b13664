// Images to try, with the answers of one model: they are offered for this model only.

import { $, element } from "./elements.js";

/** Show the examples that belong to the served model.
 *
 * @param onFile takes the file of the example that was clicked */
export async function offerExamples({ sha256 }, onFile) {
  const response = await fetch("page/examples/index.json");
  if (!response.ok) return;
  const { model, credits, examples } = await response.json();
  if (model !== sha256 || !examples.length) return;
  $("examples-list").replaceChildren(...examples.map((example) => entry(example, onFile)));
  $("examples-credits").replaceChildren(...[...new Set(examples.map(({ credit }) => credit))].map((name) => creditLine(credits[name])));
  $("examples").hidden = false;
}

function entry({ file, title }, onFile) {
  const button = $("example").content.firstElementChild.cloneNode(true);
  button.querySelector("img").src = `page/examples/${file}`;
  button.querySelector("span").textContent = title;
  button.firstElementChild.onclick = () => load(`page/examples/${file}`, file, onFile);
  return button;
}

/** Whose images they are, under which licence, and what was changed. */
function creditLine({ text, source, href, license, license_href, changes }) {
  const link = (words, address) => Object.assign(element("a", words), { href: address, rel: "noreferrer" });
  return element("p", `${text}, `, link(source, href), ", ", link(license, license_href), changes ? `, ${changes}.` : ".");
}

/** Fetch an image that comes with the page and hand it over as a file; say so if that fails. */
export async function load(address, name, onFile) {
  try {
    const response = await fetch(address);
    if (!response.ok) throw response;
    const image = await response.blob();
    onFile(new File([image], name, { type: image.type }));
  } catch {
    $("trouble").textContent = "The example could not be loaded. Choose an image of your own.";
    $("trouble").hidden = false;
    $("status").textContent = $("trouble").textContent;
  }
}
