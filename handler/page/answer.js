// What an answer means, in numbers and words. Nothing here touches the document.

/** The model card, once the service has sent it. */
export const known = { card: {} };

export const percent = (p) => (p > 0.9995 ? ">\u00a099.9\u00a0%" : p > 0 && p < 0.0005 ? "<\u00a00.1\u00a0%" : `${(p * 100).toFixed(1)}\u00a0%`);
export const round = (p) => `${+(p < 0.1 ? (p * 100).toPrecision(2) : (p * 100).toFixed(1))}\u00a0%`;
export const megabytes = (bytes) => (bytes < 1e5 ? `${Math.ceil(bytes / 1e3)}\u00a0kB` : `${(bytes / 1e6).toFixed(1)}\u00a0MB`);
export const alternatives = new Intl.ListFormat("en", { type: "disjunction" });
export const together = new Intl.ListFormat("en", { type: "conjunction" });
const twoDigits = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });

/** The model card, unless another model made this prediction. */
export const cardOf = ({ model }) => (model?.sha256 === known.card.sha256 ? known.card : {});
/** Labels as the card orders them; objects put those that look like numbers first. */
export const labelsOf = (item) => cardOf(item).labels ?? Object.keys(item.prediction.probabilities);
/** Two labels have a threshold on the positive one. */
export const isBinary = ({ prediction }) => typeof prediction.threshold === "number";
/** The label whose probability stands for an answer: the positive one of two, or the answer with more. */
export const mainLabel = (item) => (isBinary(item) ? (cardOf(item).positive_label ?? item.prediction.explanation?.label ?? labelsOf(item).at(-1)) : item.prediction.label);

/** Whether the probabilities assume equally frequent classes, as the card's `set_thresholds` do. */
export function areEquallyFrequent({ prediction }) {
  const shares = Object.values(prediction.prevalence);
  return Math.max(...shares) - Math.min(...shares) < 1e-6;
}

/** Of two labels: the probabilities of the positive one between which neither can be excluded, for the prevalence that
 * the answer assumes. */
export function bandOf(item) {
  const least = cardOf(item).set_thresholds;
  if (!least) return null;
  const [negative, positive] = labelsOf(item);
  const band = [least[positive], 1 - least[negative]];
  const q = item.prediction.prevalence[positive];
  return band[0] < band[1] ? band.map((p) => (p * q) / (p * q + (1 - p) * (1 - q))) : null;
}

/** Which labels remain, as a sentence. */
export function remaining({ prediction_set: labels = [] }) {
  if (labels.length) return `${alternatives.format(labels)} cannot be excluded.`;
  return "Every class can be excluded: the image may differ from the training images.";
}

/** For which frequencies of the classes, and with whose images, the probabilities are calibrated. */
export function assumed(item) {
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

export const total = (images) => Object.values(images).reduce((sum, count) => sum + count, 0);

/** The largest fall of the log odds in an explanation. */
export const strongest = ({ map }) => Math.max(...map.flat());
/** The explanation of an item if it marks anything. */
export function marksOf({ state, prediction }) {
  const explanation = state === "done" ? prediction.explanation : null;
  return explanation && strongest(explanation) >= explanation.floor ? explanation : null;
}

/** Where the strongest mark is, for those who do not see it. */
export function placeOf({ map }) {
  const most = strongest({ map });
  const row = map.findIndex((values) => values.includes(most));
  const third = (index, count, names) => names[Math.floor((3 * (index + 0.5)) / count)];
  const [down, across] = [third(row, map.length, ["upper", "middle", "lower"]), third(map[row].indexOf(most), map[row].length, ["left", "centre", "right"])];
  return `${down} ${across}`;
}

/** What the map shows, in plain sentences. */
export function meaning(explanation) {
  const { label, floor } = explanation;
  const most = strongest(explanation);
  if (most < floor) return `The map is empty: no single region changes the answer much. Blurring one lowers the log odds of ${label} by less than ${floor}. An empty map does not mean that the image is normal.`;
  return `Blurring the region of the strongest mark lowers the log odds of ${label} by ${most.toFixed(1)}: the odds become ${twoDigits.format(Math.exp(most))} times smaller. The marks are coarse and do not outline disease.`;
}

/** Whether an image was scored although it does not look like an X-ray. */
export const isForced = ({ state, prediction }) => state === "done" && prediction.warnings.some(({ code }) => code === "forced");

/** Whether an image was refused because it does not look like an X-ray. */
export const isNotAnXray = ({ type }) => /not-an-xray\/?$/.test(type ?? "");

/** The text of a problem for people. If the image is not an X-ray, the part behind the semicolon is for programs and is
 * left out: the page has a button instead. */
export const detailOf = (problem) => (isNotAnXray(problem) ? problem.detail?.replace(/;.*/, ".") : problem.detail);

/** The probability that stands for an answer, see `mainLabel`; none before there is an answer. */
export const mainProbability = (item) => (item.state === "done" ? item.prediction.probabilities[mainLabel(item)] : undefined);

/** What is to be said about an item in one word and one sentence, and in which tone. */
export function summary(item) {
  const { state, prediction, problem } = item;
  if (state === "done") {
    const label = mainLabel(item);
    const p = mainProbability(item);
    if (prediction.uncertain) return { tone: "uncertain", tag: "Uncertain", long: "Uncertain: have it read", label, p };
    if (isForced(item)) return { tone: "forced", tag: prediction.label, long: prediction.label, label, p };
    const tone = !isBinary(item) ? "neutral" : prediction.label === label ? "positive" : "negative";
    return { tone, tag: prediction.label, long: prediction.label, label, p };
  }
  if (state === "failed") return { tone: "problem", tag: "Not scored", long: problem.title };
  return { tone: "waiting", tag: state === "scoring" ? "Scoring…" : "Waiting", long: state === "scoring" ? "Scoring…" : "Waiting its turn" };
}
