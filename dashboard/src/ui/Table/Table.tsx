/** Owns the frame and the head of a table. It must not know what its rows hold. */

import type { ReactNode } from "react";

interface Props {
  /** Titles of the columns that hold words; those of figures follow them. */
  words: readonly string[];
  figures: readonly string[];
  narrow?: boolean;
  testId?: string;
  /** The rows. */
  children: ReactNode;
}

export function Table({ words, figures, narrow = false, testId, children }: Props) {
  return (
    <div className="scroll">
      <table className={narrow ? "narrow-table" : undefined} data-testid={testId}>
        <thead>
          <tr>
            {words.map((title) => (
              <th scope="col" key={title}>
                {title}
              </th>
            ))}
            {figures.map((title) => (
              <th scope="col" className="number" key={title}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
