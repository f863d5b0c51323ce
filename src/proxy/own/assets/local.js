// The page /.countersign/local: a developer's switch for this browser. What it says stands in the document, in one language.
import { countersign } from "/.countersign/client.js";

const { local } = countersign;
const texts = document.getElementById("texts").dataset;
const by = (id) => document.getElementById(id);
const fill = (text, value) => text.replace("{}", () => value);

const button = (name, title, act) => {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = name;
  made.setAttribute("aria-label", title);
  made.addEventListener("click", act);
  return made;
};

const row = ({ prefix, target, note, loud }, buttons) => {
  const item = by("row").content.cloneNode(true).firstElementChild;
  item.classList.toggle("loud", Boolean(loud));
  item.dataset.prefix = prefix;
  item.querySelector(".prefix").textContent = prefix;
  if (target) item.querySelector(".target").textContent = target;
  else for (const part of item.querySelectorAll(".arrow, .target")) part.remove();
  item.querySelector(".note").textContent = note ?? "";
  item.querySelector(".does").append(...buttons);
  return item;
};

/** The same six fields as client.js sends, so that the server is asked what it will be asked. */
const demonstration = ({ project, app_id: appid, header_prefix: family = "x-kms-" }) => {
  const claims = { user: "demo@example.com", username: "demo", stamp: "0", appid, project, sign: "demo" };
  return Object.fromEntries(Object.entries(claims).map(([name, value]) => [family + name, value]));
};

const verdict = async (target) => {
  const signal = AbortSignal.timeout(10_000);
  try {
    const headers = demonstration(await countersign.refresh());
    const answer = await fetch(target, { headers, signal, credentials: "omit", cache: "no-store", redirect: "manual" });
    return [true, fill(texts.testGood, answer.status || "3xx")];
  } catch {
    const runs = await fetch(target, { mode: "no-cors", signal, credentials: "omit", cache: "no-store" }).then(() => true, () => false);
    return [false, runs ? texts.testCors : texts.testDown];
  }
};

const test = async (target, item) => {
  const result = item.querySelector(".result");
  result.className = "result";
  result.textContent = fill(texts.testing, target);
  const [good, words] = await verdict(target);
  result.classList.add(good ? "ok" : "bad");
  result.textContent = words;
};

const say = (words, bad = false) => {
  by("told").className = bad ? "told bad" : "told";
  by("told").textContent = words;
};

const edit = ({ prefix, target }) => {
  by("prefix").value = prefix;
  by("target").value = target ?? "";
  by(target ? "prefix" : "target").focus();
};

const remove = (prefix) => {
  local.remove(prefix);
  show();
  say(fill(texts.removed, prefix));
  by("prefix").focus();
};

const mine = (route) => {
  const { prefix, target } = route;
  const item = row({ prefix, target, loud: local.enabled }, [
    button(texts.test, fill(texts.testOf, prefix), () => test(target, item)),
    button(texts.edit, fill(texts.editOf, prefix), () => edit(route)),
    button(texts.remove, fill(texts.removeOf, prefix), () => remove(prefix)),
  ]);
  return item;
};

let told;

/** Whether the calls of this prefix go to a developer's server for now. */
const isMine = (prefix) => local.enabled && local.routes().some((route) => route.prefix === prefix);

const theirs = ({ prefix, mode, target }) => {
  const how = mode === "direct" ? texts.modeDirect : texts.modeApi;
  const note = isMine(prefix) ? `${how} (${texts.overridden})` : how;
  return row({ prefix, target, note }, [button(texts.debugHere, fill(texts.debugOf, prefix), () => edit({ prefix }))]);
};

const show = () => {
  const [routes, on] = [local.routes(), local.enabled];
  document.documentElement.classList.toggle("on", on);
  document.title = `${on ? `● ${texts.titleOn} · ` : ""}${texts.title} · Countersign`;
  by("state").hidden = false;
  by("state-name").textContent = on ? texts.isOn : texts.isOff;
  by("state-means").textContent = !on ? texts.offMeans : routes.length ? texts.onMeans : texts.onNothing;
  by("switch").textContent = on ? texts.switchOff : texts.switchOn;
  by("none").hidden = routes.length > 0;
  by("rows").replaceChildren(...routes.map(mine));
  by("all").replaceChildren(...(told?.routes ?? []).map(theirs));
};

const showAll = async () => {
  told = await countersign.refresh();
  by("project").textContent = told.project;
  by("environment").textContent = told.environment;
  by("place").hidden = false;
  const names = [...new Set(told.routes.map(({ prefix }) => prefix))];
  by("known").replaceChildren(...names.map((prefix) => Object.assign(document.createElement("option"), { value: prefix })));
  show();
  const family = told.header_prefix ?? "x-kms-";
  const fields = ["user", "username", "stamp", "appid", "project", "sign"].map((name) => family + name);
  by("cors").textContent = `access-control-allow-origin: ${location.origin}
access-control-allow-methods: GET, POST, PUT, PATCH, DELETE
access-control-allow-headers: content-type, ${fields.join(", ")}
access-control-allow-private-network: true`;
};

const trouble = (words) => {
  by("trouble").textContent = words;
  by("trouble").hidden = false;
};

by("switch").addEventListener("click", () => {
  if (local.enabled) local.disable();
  else local.enable();
  show();
});

by("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const [prefix, target] = [by("prefix").value.trim(), by("target").value.trim()];
  try {
    local.set(prefix, target);
  } catch ({ cause }) {
    say(cause === "prefix" ? texts.badPrefix : texts.badTarget, true);
    by(cause === "prefix" ? "prefix" : "target").focus();
    return;
  }
  event.target.reset();
  show();
  say(fill(texts.saved, `${prefix} → ${target}`));
});

// Another tab has changed something.
window.addEventListener("storage", ({ key }) => key === "countersign.probe" || show());

try {
  localStorage.setItem("countersign.probe", "");
  localStorage.removeItem("countersign.probe");
  show();
} catch {
  trouble(texts.noStorage);
  by("form").hidden = true;
  by("switch").disabled = true;
}
await showAll().catch((error) => trouble(fill(texts.routesFailed, error.message)));
