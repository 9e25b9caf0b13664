// Requests to the service and their problems, in words.

export const BODY_LIMIT = 4.5e6; // bytes of a file that AWS Lambda still accepts, after base64

const BY_STATUS = {
  401: ["The service wants credentials", "It is set up to answer signed requests only, which this page cannot send."],
  413: ["The file is too large for this service", "Export it as JPEG or scale it down, then send it again."],
  429: ["The service is busy", "More requests arrive than it may answer. Wait a moment and try again."],
  503: ["The service is not ready", "It may be starting up. Wait a moment and try again."],
};
BY_STATUS[403] = BY_STATUS[401];
BY_STATUS[502] = BY_STATUS[504] = BY_STATUS[503];

/** Any failed answer as problem details; gateways in front of the service answer with other JSON, or with HTML. */
function asProblem(status, body, headers) {
  const [name, detail] = BY_STATUS[status] ?? [`The service answered with status ${status}`, "Its answer gives no reason."];
  const known = body && typeof body.title === "string";
  return {
    type: known ? String(body.type ?? "") : "",
    title: known ? body.title : name,
    detail: known ? String(body.detail ?? "") : detail,
    status: (known && body.status) || status,
    instance: (known && (body.instance || body.request_id)) || "",
    wait: headers?.get("retry-after"),
  };
}

const SHOWN = /^(\xff\xd8|\x89PNG|GIF8|BM|RIFF)/; // how files begin that every browser can show

/** Score one item. Asks for a preview of files that browsers cannot show.
 *
 * Throws problem details, see `asProblem`. */
export async function ask(item) {
  let start;
  try {
    start = String.fromCharCode(...new Uint8Array(await item.file.slice(0, 132).arrayBuffer()));
  } catch {
    throw { title: "The file could not be read", detail: "It may be a folder, or it was moved or changed after you chose it." };
  }
  item.dicom = start.slice(128) === "DICM";
  const wanted = new URLSearchParams({ explain: true });
  if (item.force) wanted.set("force", true);
  if (item.dicom || !SHOWN.test(start)) wanted.set("preview", true);
  const form = new FormData();
  form.append("file", item.file, "image"); // names of files often are names of patients: they stay here
  let response;
  try {
    response = await fetch(`v1/predictions?${wanted}`, {
      method: "POST",
      body: form,
      headers: { accept: "application/json, application/problem+json" },
      signal: item.abort.signal,
    });
  } catch {
    throw { title: "The service could not be reached", detail: "The connection failed before an answer came.", status: 0 };
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) throw asProblem(response.status, body, response.headers);
  const prediction = body?.predictions?.[0];
  if (prediction?.error) throw asProblem(prediction.error.status, prediction.error, response.headers);
  if (!prediction?.probabilities || !prediction.prevalence || !prediction.warnings) {
    throw { title: "The answer could not be understood", detail: "Something between this page and the service changed it, or the service has been updated: reload the page.", status: response.status };
  }
  return { prediction, model: body.model, request: body.request_id };
}
