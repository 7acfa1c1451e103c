export { SlaTable } from "./SlaTable";
