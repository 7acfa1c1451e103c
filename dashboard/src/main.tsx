/** Owns putting the page together. It must not know what is on it. */

import "./ui/base.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Shell } from "./ui/Shell";

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no element with the id root");
createRoot(root).render(
  <StrictMode>
    <Shell />
  </StrictMode>,
);
