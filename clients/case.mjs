// What the JavaScript scripts here share: one line of JSON for each thing that a client is asked to do.

export const BASE = process.env.BASE ?? "http://localhost:8501/v1";
export const REF = process.env.REF ?? "phi3-embedded/2";
export const NO_OPTIONS = process.env.NO_OPTIONS ?? "no-options/1";
export const QUESTION = "What is the capital of Spain?";

export async function attempt(name, work) {
  let result, detail;
  try {
    const found = await work();
    [result, detail] = found ? ["works", JSON.stringify(found)] : ["fails", `nothing came back: ${found}`];
  } catch (error) {
    const status = error.status ?? error.statusCode ?? error.lastError?.statusCode;
    result = status >= 400 && status < 500 ? "refused" : "fails";
    detail = `${error.name}: ${error.message}`;
  }
  console.log(JSON.stringify({ case: name, result, detail: String(detail).slice(0, 300) }));
}

export async function pieces(stream, text) {
  const found = [];
  for await (const chunk of stream) if (text(chunk)) found.push(text(chunk));
  if (found.length < 2) throw new Error(`it came in one piece: ${found}`);
  return found.join("");
}
