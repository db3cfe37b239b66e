import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

const none = new URL('./src/lib/none.ts', import.meta.url).pathname;

// The bundle is committed: names are stable, so that a change touches the files it changes, and
// nothing in it depends on where or when it was built. Class hashes follow the text of the styles:
// by default they follow the path.
export default defineConfig({
  base: './',
  plugins: [svelte({ compilerOptions: { runes: true, cssHash: ({ hash, css }) => `s-${hash(css)}` } })],
  // The SSH library has two sets of algorithms, and in a browser takes the browser's: those of Node
  // stay out, and what they and its streams extend is empty.
  resolve: { alias: [{ find: /^(\.\/node\/node\w+|stream|crypto|net|os|path|util)$/, replacement: none }] },
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
