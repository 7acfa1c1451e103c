export { LevelsTable } from "./LevelsTable";
