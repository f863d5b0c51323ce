/** The types of `/.countersign/client.js`. */

/** One prefix, as `routes.json` and `local.routes()` list it. */
export type Route =
  | { readonly prefix: string; readonly mode: "api" }
  | { readonly prefix: string; readonly mode: "direct"; readonly target: string };

/** One prefix that this browser sends to a developer's server. */
export interface LocalRoute {
  readonly prefix: string;
  readonly mode: "local";
  readonly target: string;
}

/** `/.countersign/routes.json`: what holds in the environment that serves this browser. */
export interface Routes {
  readonly project: string;
  /** May be empty. */
  readonly app_id: string;
  readonly environment: string;
  /** What the signature's fields begin with, where that is not `x-kms-`. */
  readonly header_prefix?: string;
  readonly routes: readonly Route[];
}

export interface UploadOptions {
  /** `POST` unless given. */
  method?: string;
  headers?: HeadersInit;
  /** `include` sends cookies to other origins too; to its own origin a browser always sends them. */
  credentials?: "same-origin" | "include";
  signal?: AbortSignal | null;
  /** Told as the body goes out. Its presence makes a browser ask other origins by a preflight first. */
  onprogress?: (event: ProgressEvent) => void;
}

export interface JsonpOptions {
  /** The parameter that names the function to call; `callback` unless given. */
  callback?: string;
  /** Milliseconds; 30,000 unless given. */
  timeout?: number;
  signal?: AbortSignal | null;
}

export interface DownloadOptions {
  /** What the file shall be called; other origins have the last word. */
  filename?: string;
}

/** Local debugging: this browser alone, kept in its `localStorage`. */
export interface Local {
  /** Whether it is on. */
  readonly enabled: boolean;
  enable(): void;
  disable(): void;
  /**
   * Sends what lies below a prefix (whole segments) to a server: `set("/a0", "http://localhost:3000/api")`.
   * @throws TypeError when one of them cannot be such a thing; its `cause` is `"prefix"` or `"target"`.
   */
  set(prefix: string, target: string | URL): void;
  remove(prefix: string): void;
  /** What has been set, whether or not it is on. */
  routes(): LocalRoute[];
}

export interface Countersign {
  readonly local: Local;
  /** As `fetch`: the same arguments, the same answer, the same errors. */
  fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>;
  /** Sends a body and tells how far it has come. */
  upload(path: string | URL, body: XMLHttpRequestBodyInit, options?: UploadOptions): Promise<Response>;
  /** The value that the script calls back with. */
  jsonp<T = unknown>(path: string | URL, options?: JsonpOptions): Promise<T>;
  /** Loads a script; done when it has run. */
  script(path: string | URL): Promise<void>;
  /** Starts a download. */
  download(path: string | URL, options?: DownloadOptions): Promise<void>;
  /**
   * The address that would be used.
   * @throws Error while `routes.json` could not be read.
   */
  url(path: string | URL): string;
  /** Reads `routes.json` again. */
  refresh(): Promise<Routes>;
}

export const countersign: Countersign;
export default countersign;
