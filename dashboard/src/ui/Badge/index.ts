export { Badge } from "./Badge";
