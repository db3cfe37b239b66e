import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// The bundle is committed: names are stable, so that a change touches the files it changes, and
// nothing in it depends on where or when it was built. Class hashes follow the text of the styles:
// by default they follow the path.
export default defineConfig({
  base: './',
  plugins: [svelte({ compilerOptions: { runes: true, cssHash: ({ hash, css }) => `s-${hash(css)}` } })],
  // The SSH library has two sets of ciphers, and in a browser takes the browser's.
  resolve: { alias: { 'node-rsa': new URL('./src/lib/none.ts', import.meta.url).pathname } },
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1024,
    rolldownOptions: {
      input: ['index.html', 'term.html'],
      output: {
        entryFileNames: 'a/[name].js',
        chunkFileNames: 'a/[name].js',
        assetFileNames: 'a/[name][extname]',
      },
    },
  },
  test: { include: ['src/**/*.test.ts'] },
} as Parameters<typeof defineConfig>[0]);
