/** Owns reading the style sheet's colours, again when the theme changes. It must not know what is drawn with them. */

import { useEffect, useState } from "react";
import { type Palette, paletteFrom } from "../view/palette";

export function usePalette(): Palette {
  const [palette, setPalette] = useState(readPalette);
  useEffect(() => {
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    const changed = (): void => setPalette(readPalette());
    dark.addEventListener("change", changed);
    return () => dark.removeEventListener("change", changed);
  }, []);
  return palette;
}

function readPalette(): Palette {
  const style = window.getComputedStyle(document.documentElement);
  return paletteFrom((property) => style.getPropertyValue(property));
}
