// The gateway's other endpoints, and the key, which is kept for this tab.

import { SluiceError } from "./sluice.js";

const KEY = "sluice.key";

export function key() {
  return sessionStorage.getItem(KEY) ?? undefined;
}

/** @param {string} text */
export function keepKey(text) {
  sessionStorage.setItem(KEY, text);
}

export function forgetKey() {
  sessionStorage.removeItem(KEY);
}

/**
 * @param {string} path
 * @param {{method?: string, body?: object, headers?: Record<string, string>, key?: string, signal?: AbortSignal}} [init]
 * @returns {Promise<Response>}  Throws SluiceError.
 */
export async function request(path, { method, body, headers, key: sent = key(), signal } = {}) {
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), {
      method,
      body: body && JSON.stringify(body),
      headers: { ...headers, ...(sent ? { Authorization: `Bearer ${sent}` } : {}) },
      cache: "no-store",
      signal,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new SluiceError(String(error), { code: "unreachable" });
  }
  if (!response.ok) throw await SluiceError.of(response);
  return response;
}

/** @param {string} path @param {{key?: string}} [init] @returns {Promise<any>} */
export async function json(path, init) {
  return (await request(path, init)).json();
}

/**
 * Lines of JSON as they come.
 *
 * @param {Response} response
 * @returns {AsyncGenerator<any, void, undefined>}
 */
export async function* lines(response) {
  const decoder = new TextDecoder();
  const reader = response.body?.getReader();
  let rest = "";
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
    const found = (rest + decoder.decode(part.value, { stream: true })).split("\n");
    rest = found.pop() ?? "";
    for (const line of found) if (line.trim()) yield JSON.parse(line);
  }
}
