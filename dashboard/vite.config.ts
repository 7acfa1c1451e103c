import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The page is served by the API itself, so it is built into the API's package; in development the API is proxied.
export default defineConfig({
  plugins: [react()],
  build: {
    outDir: "../services/api/static",
    emptyOutDir: true,
    // Assets inlined as data: URLs would need a wider Content-Security-Policy than 'self'.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/v1": "http://127.0.0.1:8420" } },
});
