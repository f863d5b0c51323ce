// What is nicer with JavaScript: parts that follow by themselves, a log that scrolls, a copy button. Without it every page
// says the same, once it is opened again. Whatever is put into the page was made, and escaped, by the server.

const texts = document.getElementById("texts")?.dataset ?? {};
const told = document.getElementById("told");
const main = document.getElementById("main");
const pause = document.getElementById("pause");

let paused = false;

function tell(text) {
  if (told && told.textContent !== text) told.textContent = text ?? "";
}

if (pause) {
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? texts.resume : texts.pause;
  });
}

// Parts

const known = new Map();

function show(id, html) {
  const element = document.getElementById(id);
  if (!element || known.get(id) === html) return;
  // What somebody has the focus in, or is marking, is left alone until he is done.
  const selection = document.getSelection();
  const marking = selection && !selection.isCollapsed && element.contains(selection.anchorNode);
  if (element.contains(document.activeElement) || marking) return;
  const scrolled = [...element.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
  element.innerHTML = html;
  element.querySelectorAll(".scroll").forEach((box, index) => { box.scrollLeft = scrolled[index] ?? 0; });
  known.set(id, html);
}

async function follow(address) {
  let failed = 0;
  for (;;) {
    await new Promise((done) => setTimeout(done, failed ? Math.min(1000 * 2 ** failed, 15000) : 1000));
    if (paused || document.hidden) continue;
    try {
      const answer = await fetch(address, { headers: { accept: "application/json" }, signal: AbortSignal.timeout(10000) });
      if (answer.status === 401) return location.reload();
      if (!answer.ok) throw new Error(String(answer.status));
      for (const [id, html] of Object.entries(await answer.json())) show(id, html);
      if (failed) tell(texts.fresh);
      failed = 0;
      main.classList.remove("stale");
      const done = document.querySelector("[data-done]");
      if (done) return location.assign(done.dataset.done);
      if (document.querySelector("[data-stop]")) return;
    } catch {
      failed += 1;
      if (failed > 1) {
        main.classList.add("stale");
        tell(texts.stale);
      }
    }
  }
}

if (main?.dataset.live) follow(main.dataset.live);

// The log

const log = document.getElementById("log");

function tail(list) {
  const most = Number(list.dataset.most) || 200;
  const waiting = [];
  const put = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    list.prepend(template.content);
    document.getElementById("log-empty")?.remove();
    // What somebody reads is not taken away.
    while (list.children.length > most && !list.lastElementChild.querySelector("details[open]")) list.lastElementChild.remove();
  };
  const source = new EventSource(list.dataset.stream);
  source.onmessage = (event) => {
    if (!paused) return put(event.data);
    waiting.push(event.data);
    if (waiting.length > most) waiting.shift();
  };
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) tell(texts.stale); };
  pause?.addEventListener("click", () => { if (!paused) waiting.splice(0).forEach(put); });
  addEventListener("pagehide", () => source.close());
}

if (log?.dataset.stream) tail(log);

// Filters that are chosen, not typed, apply at once.

for (const select of document.querySelectorAll("form.filter select")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// Copying needs a secure context.

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = texts.copied;
    tell(texts.copied);
  });
}

// A form is sent once.

addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "yes";
});
addEventListener("pageshow", () => { for (const form of document.forms) delete form.dataset.sent; });
