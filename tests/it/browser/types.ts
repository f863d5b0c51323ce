// What a front end may write, and what the compiler must refuse. Run by `tsc`; see docs/browser.md for the tsconfig.

import { countersign } from "/.countersign/client.js";
import everything, { type LocalRoute, type Route, type Routes } from "/.countersign/client.js";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_same: Equal<A, B>): void => undefined;

same<typeof everything, typeof countersign>(true);

export const uses = async (signal: AbortSignal, form: FormData, file: File): Promise<void> => {
  const answer = await countersign.fetch("/a0/x", { method: "POST", body: form, signal });
  same<typeof answer, Response>(true);
  await countersign.fetch(new URL("https://demo.example.com/a0"));
  await countersign.fetch(new Request("/a0"), { headers: [["a", "b"]] });

  const uploaded = await countersign.upload("/a0/x", form, {
    method: "PUT",
    headers: { a: "b" },
    credentials: "include",
    signal,
    onprogress: ({ loaded, total, lengthComputable }) => same<[typeof loaded, typeof lengthComputable], [number, boolean]>(true) ?? total,
  });
  same<typeof uploaded, Response>(true);
  await countersign.upload("/a0/x", file);

  const value = await countersign.jsonp<{ total: number }>("/a0/x", { callback: "cb", timeout: 1000, signal });
  same<typeof value, { total: number }>(true);
  same<Awaited<ReturnType<typeof countersign.jsonp>>, unknown>(true);
  same<Awaited<ReturnType<typeof countersign.script>>, void>(true);
  await countersign.download("/a0/x", { filename: "a.txt" });
  same<ReturnType<typeof countersign.url>, string>(true);

  const told = await countersign.refresh();
  same<typeof told, Routes>(true);
  for (const route of told.routes) {
    same<typeof route, Route>(true);
    if (route.mode === "direct") same<typeof route.target, string>(true);
    // @ts-expect-error an api route has no target
    else route.target;
  }

  const { local } = countersign;
  local.set("/a0", "http://localhost:3000");
  local.set("/a0", new URL("http://localhost:3000"));
  same<ReturnType<typeof local.routes>, LocalRoute[]>(true);
  same<typeof local.enabled, boolean>(true);
  local.enable();
  local.disable();
  local.remove("/a0");

  // @ts-expect-error it is switched by enable()
  local.enabled = true;
  // @ts-expect-error a target is needed
  local.set("/a0");
  // @ts-expect-error a body is needed
  countersign.upload("/a0");
  // @ts-expect-error an XMLHttpRequest cannot leave cookies out
  countersign.upload("/a0", form, { credentials: "omit" });
  // @ts-expect-error not a number
  countersign.jsonp("/a0", { timeout: "1s" });
  // @ts-expect-error there is no such function
  countersign.get("/a0");
};
