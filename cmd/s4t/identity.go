package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

func (a *app) projectCommand() *cobra.Command {
	name := func(p s4t.Project) string { return p.Name }
	print := func(p s4t.Project) error {
		if err := a.printOne(p, p.Name, field{"name", p.Name}, field{"id", string(p.ID)}, field{"weight", strconv.Itoa(p.Weight)}, field{"records", recorded(p)}, field{"created", since(&p.CreatedAt)}); err != nil || a.format != "table" {
			return err
		}
		a.printQuota(p.Quota)
		return nil
	}
	complete := names(a, 1, func(ctx context.Context, c *apiclient.Client) ([]s4t.Project, error) { return c.Projects(ctx) }, name)
	const weightUse = "of its share of a busy tunnel agent, beside other projects (default 1)"
	var weight int
	weigh := func(cmd *cobra.Command) error {
		if cmd.Flags().Changed("weight") && (weight < 1 || weight > s4t.MaxWeight) {
			return usage(cmd, "give a --weight of 1 to %d", s4t.MaxWeight)
		}
		return nil
	}
	create := &cobra.Command{Use: "create NAME", Short: "Create a project", Example: "  s4t project create lab --weight 3", Args: exactly(1),
		PreRunE: func(cmd *cobra.Command, _ []string) error { return weigh(cmd) },
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			p, err := c.CreateProject(ctx, apiclient.ProjectCreate{Name: args[0], Weight: weight})
			if err != nil {
				return err
			}
			return print(p)
		})}
	create.Flags().IntVar(&weight, "weight", 0, fmt.Sprintf("`N`, 1 to %d: %s", s4t.MaxWeight, weightUse))
	var quotas []string
	var record string
	var change apiclient.ProjectUpdate
	update := &cobra.Command{Use: "update NAME [--weight N] [--quota KEY=N]... [--record-terminals on|off]", Short: "Change a project's weight, what it may have, and whether its terminals are recorded",
		Long: `Changes a project's weight, and how much it may have: a quota of N, "unlimited", or
"default". What it has above a new quota stays. The keys are
` + strings.Join(s4t.QuotaKeys(), ", ") + `.

Its manager decides whether terminals of its boards that are opened from then on are
recorded (` + "`s4t recording list`" + `): who opens one is told.`,
		Example: "  s4t project update lab --weight 3\n  s4t project update lab --quota ports=9000 --quota streams=default\n  s4t project update lab --record-terminals on", Args: exactly(1), ValidArgsFunction: complete}
	update.PreRunE = func(cmd *cobra.Command, _ []string) error {
		recording := cmd.Flags().Changed("record-terminals")
		if !cmd.Flags().Changed("weight") && len(quotas) == 0 && !recording {
			return usage(cmd, "give --weight N, --quota KEY=N or --record-terminals on|off")
		}
		if recording {
			on := record == "on"
			if !on && record != "off" {
				return usage(cmd, "give --record-terminals on or off")
			}
			change.RecordTerminals = &on
		}
		if cmd.Flags().Changed("weight") {
			change.Weight = &weight
		}
		if err := weigh(cmd); err != nil {
			return err
		}
		change.Quota = map[s4t.QuotaKey]*int64{}
		for _, q := range quotas {
			key, limit, err := parseQuota(q)
			if err != nil {
				return usage(cmd, "%v", err)
			}
			change.Quota[key] = limit
		}
		return nil
	}
	update.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		p, err := c.UpdateProject(ctx, args[0], change)
		if err != nil {
			return err
		}
		return print(p)
	})
	update.Flags().IntVar(&weight, "weight", 0, fmt.Sprintf("`N`, 1 to %d: %s", s4t.MaxWeight, weightUse))
	update.Flags().StringArrayVar(&quotas, "quota", nil, "`KEY=N`, KEY=unlimited or KEY=default; may be repeated")
	update.Flags().StringVar(&record, "record-terminals", "", "`on|off`: whether terminals of its boards are recorded")
	update.RegisterFlagCompletionFunc("record-terminals", cobra.FixedCompletions([]string{"on", "off"}, cobra.ShellCompDirectiveNoFileComp))
	update.RegisterFlagCompletionFunc("quota", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var keys []string
		for _, k := range s4t.QuotaKeys() {
			keys = append(keys, k+"=")
		}
		return keys, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	})
	return newGroup("project", "Projects: every object belongs to one", "  s4t project create lab\n  s4t project list", create, update,
		a.withLimit(&cobra.Command{Use: "list", Short: "List projects", Example: "  s4t project list -o name", Args: exactly(0),
			RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
				l, err := c.ProjectList().First(ctx, a.limit)
				if err != nil {
					return err
				}
				return printList(a, l, name,
					column[s4t.Project]{"NAME", name},
					column[s4t.Project]{"ID", func(p s4t.Project) string { return string(p.ID) }},
					column[s4t.Project]{"WEIGHT", func(p s4t.Project) string { return strconv.Itoa(p.Weight) }},
					column[s4t.Project]{"CREATED", func(p s4t.Project) string { return since(&p.CreatedAt) }})
			})}),
		&cobra.Command{Use: "show NAME", Short: "Show a project", Example: "  s4t project show lab -o json", Args: exactly(1), ValidArgsFunction: complete,
			RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
				p, err := c.Project(ctx, args[0])
				if err != nil {
					return err
				}
				return print(p)
			})},
		&cobra.Command{Use: "delete NAME", Short: "Delete an empty project", Example: "  s4t project delete lab", Args: exactly(1), ValidArgsFunction: complete,
			RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
				p, err := c.Project(ctx, args[0])
				if err != nil {
					return err
				}
				if err := c.DeleteProject(ctx, string(p.ID)); err != nil {
					return err
				}
				return a.printGone(p, "Project", p.Name)
			})})
}

// parseQuota reads KEY=N, KEY=unlimited or KEY=default; nil is the default.
func parseQuota(text string) (s4t.QuotaKey, *int64, error) {
	word, value, ok := strings.Cut(text, "=")
	key := s4t.QuotaKey(word)
	var limit *int64
	switch value {
	case "default":
	case "unlimited":
		n := int64(s4t.Unlimited)
		limit = &n
	default:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 || !ok {
			return "", nil, fmt.Errorf("--quota %q is not KEY=N, KEY=unlimited or KEY=default", text)
		}
		limit = &n
	}
	return key, limit, s4t.ValidQuota("read --quota "+text, key, limit)
}

// printQuota prints what a project has and may have.
func (a *app) printQuota(quota map[s4t.QuotaKey]s4t.Quota) {
	if len(quota) == 0 {
		return
	}
	rows := [][]string{{"KEY", "USED", "LIMIT"}}
	for _, key := range s4t.QuotaKeys() {
		q, ok := quota[s4t.QuotaKey(key)]
		if !ok {
			continue
		}
		limit := "unlimited"
		if q.Limit != s4t.Unlimited {
			limit = strconv.FormatInt(q.Limit, 10)
		}
		rows = append(rows, []string{key, strconv.FormatInt(q.Used, 10), limit})
	}
	fmt.Fprintln(a.stdout)
	a.printTable(rows)
}

func (a *app) userCommand() *cobra.Command {
	name := func(u s4t.User) string { return u.Name }
	print := func(u s4t.User) error {
		return a.printOne(u, u.Name, field{"name", u.Name}, field{"id", string(u.ID)}, field{"project", string(u.Project)}, field{"role", string(u.Role)}, field{"created", since(&u.CreatedAt)})
	}
	complete := names(a, 1, func(ctx context.Context, c *apiclient.Client) ([]s4t.User, error) { return c.Users(ctx) }, name)

	var req apiclient.UserCreate
	var role string
	var passwordStdin bool
	create := &cobra.Command{Use: "create NAME --project P --role reader|member|manager|admin", Short: "Create a user",
		Long: `Creates a user. Without a password the user cannot log in, and has tokens only;
on a terminal you are asked for one (12 characters or more).

A reader sees the project, a member uses it, a manager manages its users and
tokens besides. An admin is the cloud's: of every project, whatever --project
says, and nobody but an admin makes one.`,
		Example: "  s4t user create maria --project lab --role member\n  s4t user create ci --project lab --role reader --password-stdin < password", Args: exactly(1)}
	create.PreRunE = func(*cobra.Command, []string) error {
		if req.Project == "" || !s4t.Role(role).Valid() {
			return usage(create, "give --project P and --role reader, member, manager or admin")
		}
		return nil
	}
	create.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		req.Name, req.Role = args[0], s4t.Role(role)
		if passwordStdin || isTerminal(a.stdin) {
			var err error
			if req.Password, err = a.password(passwordStdin, "Password for "+req.Name+" (empty: none): "); err != nil {
				return err
			}
		}
		u, err := c.CreateUser(ctx, req)
		if err != nil {
			return err
		}
		return print(u)
	})
	create.Flags().StringVar(&req.Project, "project", "", "name or id of the user's `PROJECT`")
	create.Flags().StringVar(&role, "role", "", "`ROLE`: reader, member, manager, or admin, who is the cloud's")
	create.Flags().BoolVar(&passwordStdin, "password-stdin", false, "read the password from standard input")
	create.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{"reader", "member", "manager", "admin"}, cobra.ShellCompDirectiveNoFileComp))

	return newGroup("user", "Users: who may log in", "  s4t user create maria --project lab --role member\n  s4t user list", create, a.userPassword(complete),
		a.withLimit(&cobra.Command{Use: "list", Short: "List users", Example: "  s4t user list", Args: exactly(0),
			RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
				l, err := c.UserList().First(ctx, a.limit)
				if err != nil {
					return err
				}
				project := a.projectNames(ctx, c)
				return printList(a, l, name,
					column[s4t.User]{"NAME", name},
					column[s4t.User]{"ROLE", func(u s4t.User) string { return string(u.Role) }},
					column[s4t.User]{"PROJECT", func(u s4t.User) string { return project(u.Project) }},
					column[s4t.User]{"CREATED", func(u s4t.User) string { return since(&u.CreatedAt) }})
			})}),
		&cobra.Command{Use: "delete NAME", Short: "Delete a user and the user's tokens", Example: "  s4t user delete maria", Args: exactly(1), ValidArgsFunction: complete,
			RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
				u, err := c.User(ctx, args[0])
				if err != nil {
					return err
				}
				if err := c.DeleteUser(ctx, string(u.ID)); err != nil {
					return err
				}
				return a.printGone(u, "User", u.Name)
			})})
}

// userPassword is `user password`.
func (a *app) userPassword(complete completer) *cobra.Command {
	var fromStdin bool
	cmd := &cobra.Command{Use: "password [NAME]", Short: "Change a password: your own, or, as a manager or an admin, a user's",
		Long:    "Changes your own password, or that of a user: as a manager, of your project, as an\nadmin, of any. It has 12 characters or more. Tokens stay valid: revoke those that\nshould not.",
		Example: "  s4t user password\n  s4t user password maria --password-stdin < password", Args: between(0, 1), ValidArgsFunction: complete}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		user := cmp.Or(first(args), apiclient.Self)
		password, err := a.password(fromStdin, "New password: ")
		if err != nil {
			return err
		}
		if !fromStdin {
			again, err := a.password(false, "Once more: ")
			if err != nil {
				return err
			}
			if again != password {
				return s4t.Errorf(s4t.Invalid, "change the password", "try again", "the two are not the same")
			}
		}
		if password == "" {
			return s4t.Errorf(s4t.Invalid, "change the password", "", "none was given")
		}
		if err := c.SetUserPassword(ctx, user, password); err != nil {
			return err
		}
		if a.format == "table" {
			_, err = fmt.Fprintln(a.stdout, "The password is changed.")
		}
		return err
	})
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

func (a *app) tokenCommand() *cobra.Command {
	id := func(t s4t.Token) string { return string(t.ID) }
	print := func(t s4t.Token) error {
		return a.printOne(t, string(t.ID), field{"id", string(t.ID)}, field{"token", t.Secret}, field{"user", t.User}, field{"project", string(t.Project)}, field{"role", string(t.Role)}, field{"expires", expires(t)})
	}
	var req apiclient.TokenCreate
	var role string
	create := &cobra.Command{Use: "create", Short: "Create a token; its secret is shown this once", Example: "  s4t token create --role reader --expires 24h\n  s4t token create --project lab -o json", Args: exactly(0)}
	create.PreRunE = func(*cobra.Command, []string) error {
		if req.Role = s4t.Role(role); role != "" && !req.Role.Valid() {
			return usage(create, "--role is reader, member, manager or admin")
		}
		return nil
	}
	create.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
		t, err := c.CreateToken(ctx, req)
		if err != nil {
			return err
		}
		return print(t)
	})
	create.Flags().StringVar(&req.Project, "project", "", "name or id of a `PROJECT` (default the context's)")
	create.Flags().StringVar(&role, "role", "", "`ROLE`: reader, member, manager or admin (default that of the token in use)")
	create.Flags().StringVar(&req.Expires, "expires", "", "`DURATION` that it is valid, for example 24h (default, and at most, as long as the token in use)")
	create.Flags().StringVar(&req.User, "user", "", "`USER` whose token it is (default you; another's takes a manager)")
	create.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{"reader", "member", "manager", "admin"}, cobra.ShellCompDirectiveNoFileComp))
	return newGroup("token", "Tokens: what programs log in with", "  s4t token create --role reader --expires 24h\n  s4t token list", create,
		a.withLimit(&cobra.Command{Use: "list", Short: "List tokens, without their secrets", Example: "  s4t token list", Args: exactly(0),
			RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
				l, err := c.TokenList().First(ctx, a.limit)
				if err != nil {
					return err
				}
				project := a.projectNames(ctx, c)
				return printList(a, l, id,
					column[s4t.Token]{"ID", id},
					column[s4t.Token]{"USER", func(t s4t.Token) string { return t.User }},
					column[s4t.Token]{"ROLE", func(t s4t.Token) string { return string(t.Role) }},
					column[s4t.Token]{"PROJECT", func(t s4t.Token) string { return project(t.Project) }},
					column[s4t.Token]{"EXPIRES", expires},
					column[s4t.Token]{"CREATED", func(t s4t.Token) string { return since(&t.CreatedAt) }})
			})}),
		&cobra.Command{Use: "revoke ID", Short: "Revoke a token", Example: "  s4t token revoke 3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11", Args: exactly(1),
			ValidArgsFunction: names(a, 1, func(ctx context.Context, c *apiclient.Client) ([]s4t.Token, error) { return c.Tokens(ctx) }, id),
			RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
				t, err := c.Token(ctx, args[0])
				if err != nil {
					return err
				}
				if err := c.RevokeToken(ctx, args[0]); err != nil {
					return err
				}
				return a.printGone(t, "Token", string(t.ID))
			})})
}

// expires says until when a token is valid.
func expires(t s4t.Token) string {
	if t.ExpiresAt == nil {
		return "never"
	}
	return since(t.ExpiresAt)
}

// projectNames returns what people call a project, for tables; its id where
// the cloud does not say.
func (a *app) projectNames(ctx context.Context, c *apiclient.Client) func(s4t.ProjectID) string {
	names := map[s4t.ProjectID]string{}
	if a.format == "table" {
		if l, err := c.Projects(ctx); err == nil {
			for _, p := range l {
				names[p.ID] = p.Name
			}
		}
	}
	return func(id s4t.ProjectID) string { return cmp.Or(names[id], string(id)) }
}
