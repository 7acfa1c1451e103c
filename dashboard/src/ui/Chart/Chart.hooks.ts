/** Owns the life of one chart on the page: made, resized, fed, removed. It must not decide what it looks like. */

import { type RefObject, useEffect, useLayoutEffect, useRef } from "react";
import uPlot from "uplot";
import type { BreachSpan } from "../../model/breaches";
import type { Timeline } from "../../model/timeline";
import { chartData, chartOptions, isZoomed } from "../../view/chartOptions";
import type { Palette } from "../../view/palette";
import type { ChartSpec } from "../../view/series";

export interface ChartInput {
  spec: ChartSpec;
  timeline: Timeline;
  version: number;
  breaches: readonly BreachSpan[];
  palette: Palette;
  height: number;
}

interface Plotted {
  plot: uPlot;
  /** As many as the chart was last fed; the timeline's own arrays may have grown since. */
  seconds: number;
  zoomed: boolean;
}

/** Draws into `holder`. Another spec key or palette makes a new chart; anything else only feeds the one there is. */
export function useChart(holder: RefObject<HTMLDivElement | null>, input: ChartInput): void {
  const latest = useRef(input);
  const plotted = useRef<Plotted | null>(null);
  latest.current = input;

  useLayoutEffect(() => {
    const element = holder.current;
    if (element === null) return;
    const { spec, timeline, palette, height } = latest.current;
    const source = { timeline: () => latest.current.timeline, breaches: () => latest.current.breaches };
    const size = { width: Math.max(200, element.clientWidth), height };
    const plot = new uPlot(chartOptions(spec, size, palette, source), chartData(spec, timeline), element);
    const made: Plotted = { plot, seconds: timeline.second.length, zoomed: false };
    plotted.current = made;
    // Only here are the scale and what the chart was fed sure to belong together: uPlot sets scales a moment later.
    plot.hooks.setScale = [
      (changed, scale) => {
        if (scale === "x") made.zoomed = isZoomed(changed.scales.x ?? {}, made.seconds);
      },
    ];
    const observer = new ResizeObserver(() => {
      const width = element.clientWidth;
      if (width > 0 && width !== plot.width) plot.setSize({ width, height });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.destroy();
      plotted.current = null;
    };
  }, [holder, input.spec.key, input.palette, input.height]);

  useEffect(() => {
    const current = plotted.current;
    if (current === null) return;
    const { spec, timeline } = latest.current;
    const { plot, zoomed } = current;
    current.seconds = timeline.second.length;
    plot.setData(chartData(spec, timeline), !zoomed);
    if (zoomed) plot.redraw();
  }, [input.timeline, input.version, input.breaches]);
}
