// Reads recorded answers with sluice.js. Standard input has a list of them, each a list of connections, and each of
// those a list of pieces in base64; the first connection is the POST. Prints a line for each answer: its events, and
// the Last-Event-ID of each request.
const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { module, answers } = JSON.parse(Buffer.concat(chunks));
const { chat } = await import(module);

for (const connections of answers) {
  const asked = [];
  globalThis.fetch = async (_, { headers }) => {
    asked.push(new Headers(headers).get("Last-Event-ID"));
    const pieces = connections[asked.length - 1];
    if (!pieces) return new Response(null, { status: 204 });
    const body = new ReadableStream({
      start(controller) {
        for (const piece of pieces) controller.enqueue(new Uint8Array(Buffer.from(piece, "base64")));
        controller.close();
      },
    });
    const kept = connections.length > 1 ? { Location: "/chat/x", "Preference-Applied": "resume=60" } : {};
    return new Response(body, { headers: { "Content-Type": "text/event-stream", ...kept } });
  };
  const events = [];
  try {
    for await (const event of chat({ url: "http://localhost", model: "m", messages: [] })) events.push(event);
  } catch (error) {
    events.push({ type: "thrown", code: error.code, message: error.message });
  }
  process.stdout.write(JSON.stringify({ events, asked }) + "\n");
}
