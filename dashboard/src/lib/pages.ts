/** The pages: where each is, what leads to it, and its code, which comes when it is gone to. */
import type { Component } from 'svelte';

export interface Page {
  path: string; // first element of the URL
  name: string;
  group: '' | 'Connect' | 'Act' | 'Watch' | 'Manage';
  icon: string; // path of an SVG of 20 x 20, drawn as lines
  role?: 'manager' | 'admin'; // who sees it
  load: () => Promise<{ default: Component<any> }>;
}

import Now from '../pages/Now.svelte';
import Boards from '../pages/Boards.svelte';

const ready = (c: Component<any>) => () => Promise.resolve({ default: c });

export const pages: Page[] = [
  { path: '', name: 'Now', group: '', icon: 'M3 11l3-1 2-5 4 11 2-5h3', load: ready(Now) },
  { path: 'boards', name: 'Boards', group: '', icon: 'M4 4h12v12H4zM8 4V1.5M12 4V1.5M8 18.5V16M12 18.5V16M4 8H1.5M4 12H1.5M18.5 8H16M18.5 12H16', load: ready(Boards) },
  { path: 'map', name: 'Topology', group: '', icon: 'M10 4v4M10 8L5 13M10 8l5 5M8.5 2.5h3v3h-3zM3 13h3.5v3.5H3zM13.5 13H17v3.5h-3.5z', load: () => import('../pages/Map.svelte') },
  { path: 'networks', name: 'Networks', group: 'Connect', icon: 'M3 10h14M6 10V5M14 10v5M10 10V5M4.5 2.5h3v2.5h-3zM8.5 2.5h3v2.5h-3zM12.5 15h3v2.5h-3z', load: () => import('../pages/Networks.svelte') },
  { path: 'services', name: 'Services', group: 'Connect', icon: 'M3 6h10M10 3l3 3-3 3M17 14H7M10 11l-3 3 3 3', load: () => import('../pages/Services.svelte') },
  { path: 'fleets', name: 'Fleets', group: 'Act', icon: 'M3 3h6v6H3zM11 3h6v6h-6zM3 11h6v6H3zM11 11h6v6h-6z', load: () => import('../pages/Fleets.svelte') },
  { path: 'bookings', name: 'Bookings', group: 'Act', icon: 'M3 4.5h14v12H3zM3 8.5h14M7 2.5v4M13 2.5v4M6 11.5h5M9 14h4', load: () => import('../pages/Bookings.svelte') },
  { path: 'plugins', name: 'Plugins', group: 'Act', icon: 'M7 2v4M13 2v4M5 6h10v4a5 5 0 01-10 0zM10 15v3.5', load: () => import('../pages/Plugins.svelte') },
  { path: 'commands', name: 'Commands', group: 'Act', icon: 'M3 4h14v12H3zM6 8l3 2.5L6 13M10.5 13H14', load: () => import('../pages/Commands.svelte') },
  { path: 'operations', name: 'Operations', group: 'Watch', icon: 'M4 5h2M9 5h7M4 10h2M9 10h7M4 15h2M9 15h7', load: () => import('../pages/Operations.svelte') },
  { path: 'activity', name: 'Activity', group: 'Watch', icon: 'M10 3a7 7 0 107 7M10 6v4l3 2M14 3h3v3', load: () => import('../pages/Activity.svelte') },
  { path: 'project', name: 'Project', group: 'Manage', icon: 'M7 9a3 3 0 100-6 3 3 0 000 6zM1.5 17c0-4 11-4 11 0M13 4a3 3 0 010 5M15 12c2 .5 3.5 2 3.5 5', load: () => import('../pages/Project.svelte') },
  { path: 'cloud', name: 'Cloud', group: 'Manage', role: 'admin', icon: 'M6 16a4 4 0 010-8 5 5 0 019.5 1A3.5 3.5 0 0115 16z', load: () => import('../pages/Cloud.svelte') },
];
