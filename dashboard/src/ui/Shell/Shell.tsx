/** Owns the frame of every page and which page is in it. It must not know what a page shows. */

import { useEffect, useRef } from "react";
import { Link } from "../Link";
import { routeOf, usePath } from "../route";
import { RunPage } from "../RunPage";
import { RunsPage } from "../RunsPage";
import "./Shell.css";

export function Shell() {
  const path = usePath();
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  useEffect(() => {
    // After going to another page, reading and tabbing start at its beginning.
    if (!first.current) main.current?.focus({ preventScroll: true });
    first.current = false;
  }, [path]);
  return (
    <>
      <a className="skip-link" href="#main">
        Skip to the content
      </a>
      <header className="top">
        <Link href="/" className="brand">
          <img src="/favicon.svg" alt="" width="22" height="22" />
          QueryScope
        </Link>
        <nav aria-label="Main">
          <Link href="/">Runs</Link>
          <a href="/openapi.json">API</a>
        </nav>
      </header>
      <main id="main" ref={main} tabIndex={-1}>
        <Page path={path} />
      </main>
    </>
  );
}

function Page({ path }: { path: string }) {
  const route = routeOf(path);
  if (route.page === "runs") return <RunsPage />;
  if (route.page === "run") return <RunPage runId={route.runId} key={route.runId} />;
  return (
    <div className="empty">
      <h1>No such page</h1>
      <p>
        <Link href="/">All runs</Link>
      </p>
    </div>
  );
}
