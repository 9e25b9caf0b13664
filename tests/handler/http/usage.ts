// What a program in TypeScript can do with the types that are generated from the OpenAPI document.
import type { components, operations } from "./xray";

type Answer = components["schemas"]["Answer"];
type Prediction = components["schemas"]["Prediction"];
type Problem = components["schemas"]["Problem"];
type Query = NonNullable<operations["predict"]["parameters"]["query"]>;

export async function score(url: string, images: File[]): Promise<Prediction[]> {
  const query: Query = { explain: true };
  const form = new FormData();
  for (const image of images) form.append("file", image, image.name);
  const response = await fetch(`${url}/v1/predictions?explain=${query.explain}`, { method: "POST", body: form });
  if (!response.ok) throw new Error(((await response.json()) as Problem).detail);
  const answer = (await response.json()) as Answer;
  const scored: Prediction[] = [];
  for (const item of answer.predictions) {
    if ("error" in item) console.warn(item.index, item.filename ?? "", item.error.title);
    else scored.push(item);
  }
  return scored;
}

export function shown(prediction: Prediction): string {
  const positive: number = prediction.probabilities.PNEUMONIA;
  const rows: number[][] = prediction.explanation?.map ?? [];
  // @ts-expect-error: the labels are those of the model
  const other: boolean = prediction.label === "OTHER";
  // @ts-expect-error: there is no such parameter
  const query: Query = { explian: true };
  return `${prediction.label} ${positive} ${rows.length} ${other} ${query}`;
}
