/** Owns the frame around one subject of a page. It must not know the subject. */

import { type ReactNode, useId } from "react";

interface Props {
  title: string;
  /** Stands at the right of the title. */
  aside?: ReactNode;
  testId?: string;
  children: ReactNode;
}

export function Card({ title, aside, testId, children }: Props) {
  const id = useId();
  return (
    <section className="card" aria-labelledby={id} data-testid={testId}>
      <header className="card-head">
        <h2 id={id}>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  );
}
