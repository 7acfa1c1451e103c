export { DiagnosisPanel } from "./Diagnosis";
