/** Owns the life of one chart on the page: made, resized, fed, removed. It must not decide what it looks like. */

import { type RefObject, useEffect, useLayoutEffect, useRef } from "react";
import uPlot from "uplot";
import type { BreachSpan } from "../../model/breaches";
import type { Timeline } from "../../model/timeline";
import { chartData, chartOptions } from "../../view/chartOptions";
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

/** Draws into `holder`. Another spec key or palette makes a new chart; anything else only feeds the one there is. */
export function useChart(holder: RefObject<HTMLDivElement | null>, input: ChartInput): void {
  const latest = useRef(input);
  const plotted = useRef<{ plot: uPlot; lastSecond: number } | null>(null);
  latest.current = input;

  useLayoutEffect(() => {
    const element = holder.current;
    if (element === null) return;
    const { spec, timeline, palette, height } = latest.current;
    const source = { timeline: () => latest.current.timeline, breaches: () => latest.current.breaches };
    const size = { width: Math.max(200, element.clientWidth), height };
    const plot = new uPlot(chartOptions(spec, size, palette, source), chartData(spec, timeline), element);
    plotted.current = { plot, lastSecond: timeline.second.length - 1 };
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
    const { plot, lastSecond } = current;
    const zoomed = (plot.scales.x?.min ?? 0) > 0 || (plot.scales.x?.max ?? 0) < lastSecond;
    current.lastSecond = timeline.second.length - 1;
    plot.setData(chartData(spec, timeline), !zoomed);
    if (zoomed) plot.redraw();
  }, [input.timeline, input.version, input.breaches]);
}
