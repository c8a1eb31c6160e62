// Calls one function of sluice.js and prints what it yields, one JSON line for each event.
const { module, call, options, abortAfter } = JSON.parse(process.argv[2]);
const sluice = await import(module);
const abort = new AbortController();
const print = (what) => process.stdout.write(JSON.stringify(what) + "\n");
let chunks = 0;

try {
  const running = sluice[call]({ ...options, signal: abort.signal });
  if (running instanceof Promise) {
    await running;
  } else {
    for await (const event of running) {
      print(event);
      if (event.type === "chunk" && ++chunks === abortAfter) abort.abort();
    }
  }
} catch (error) {
  const { name, message, code, status, retryAfter, requestId } = error;
  const isOne = error instanceof sluice.SluiceError;
  print({ type: "thrown", name, message, code, status, retryAfter, requestId, isOne });
}
