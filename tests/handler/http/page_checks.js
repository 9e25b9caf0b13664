{
  // WCAG 2.2, contrast (minimum): 4.5 to 1 for text, against the nearest background that is not transparent.
  contrast() {
    const parsed = (text) => {
      const numbers = text.match(/[\d.]+/g).map(Number);
      return text.startsWith("color(") ? numbers : [...numbers.slice(0, 3).map((n) => n / 255), ...numbers.slice(3)];
    };
    const luminance = (colour) => {
      const [r, g, b] = colour.slice(0, 3).map((n) => (n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
      for (; element; element = element.parentElement) {
        const colour = parsed(getComputedStyle(element).backgroundColor);
        if ((colour[3] ?? 1) > 0.99) return luminance(colour);
      }
      return 1;
    };
    const weak = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const { parentElement: element, textContent } = texts.currentNode;
      const shown = textContent.trim() && element.checkVisibility() && !element.closest("template, noscript, :disabled");
      if (!shown) continue;
      const pair = [luminance(parsed(getComputedStyle(element).color)), behind(element)].sort((a, b) => b - a);
      if ((pair[0] + 0.05) / (pair[1] + 0.05) < 4.5) weak.push(textContent.trim());
    }
    return { weak, dark: behind(document.body) < 0.1 };
  },

  // What a screen reader needs: names of controls, texts of images, references that lead somewhere, headings in order.
  structure() {
    const wrong = [];
    const all = (selector) => [...document.querySelectorAll(selector)];
    const shown = (element) => element.checkVisibility();
    for (const control of all("input, select, textarea").filter(shown))
      if (!control.labels.length) wrong.push(`no label: ${control.id}`);
    for (const control of all("button, a, summary").filter(shown))
      if (!control.textContent.trim()) wrong.push(`no text: ${control.id}`);
    for (const image of all("img")) if (!image.hasAttribute("alt")) wrong.push(`no alt: ${image.id}`);
    for (const icon of all("svg:not([hidden])"))
      if (icon.getAttribute("aria-hidden") !== "true") wrong.push(`spoken icon: ${icon.outerHTML}`);
    const ids = all("[id]").map(({ id }) => id);
    for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push(`id twice: ${id}`);
    for (const name of ["aria-labelledby", "aria-describedby", "for"])
      for (const element of all(`[${name}]`))
        for (const id of element.getAttribute(name).split(" ")) if (!ids.includes(id)) wrong.push(`${name}: ${id}`);
    const levels = all("h1, h2, h3, h4").filter(shown).map(({ tagName }) => Number(tagName[1]));
    if (levels[0] !== 1 || levels.filter((level) => level === 1).length !== 1) wrong.push("not one first heading");
    if (levels.some((level, i) => level > (levels[i - 1] ?? 1) + 1)) wrong.push("a heading skips a level");
    if (!document.documentElement.lang || !document.title) wrong.push("no language or no title");
    if (all("main").length !== 1) wrong.push("not one main");
    return wrong;
  },
}
