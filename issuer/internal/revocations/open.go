package revocations

import (
	"context"
	"errors"
	"fmt"

	"github.com/customersession/customersession/issuer/internal/secret"
)

// An Engine is where a log lives.
type Engine string

// The engines of a configuration. A [Memory] log is not configured.
const (
	EngineOff      Engine = "off"
	EngineFile     Engine = "file"
	EnginePostgres Engine = "postgres"
)

// Config says which log to open.
type Config struct {
	Engine Engine
	// File is the path of the file, for EngineFile.
	File string
	// DSNFile is the path of a file with the connection string, for
	// EnginePostgres. It is read once.
	DSNFile string
	// DSNInsecure is [PostgresConfig.Insecure].
	DSNInsecure bool
}

// Check returns what is wrong with the configuration, in terms of the settings.
func (c Config) Check() error {
	const prefix = "CUSTOMERSESSION_REVOCATIONS"
	var problems []error
	problem := func(bad bool, text string) {
		if bad {
			problems = append(problems, errors.New(prefix+text))
		}
	}
	switch c.Engine {
	case EngineOff, EngineFile, EnginePostgres:
	default:
		problem(true, " is not off, file or postgres")
		return errors.Join(problems...)
	}
	problem(c.Engine == EngineFile && c.File == "", "_FILE is missing")
	problem(c.Engine != EngineFile && c.File != "", "_FILE is set, but "+prefix+" is not file")
	problem(c.Engine == EnginePostgres && c.DSNFile == "", "_DSN_FILE is missing")
	problem(c.Engine != EnginePostgres && c.DSNFile != "", "_DSN_FILE is set, but "+prefix+" is not postgres")
	return errors.Join(problems...)
}

// Open returns the log of a configuration that Check finds good; nil for EngineOff.
// It does not connect to it.
func Open(ctx context.Context, config Config) (Log, error) { //nolint:ireturn // which one is the choice of the configuration
	switch config.Engine {
	case EngineFile:
		return NewFile(config.File), nil
	case EnginePostgres:
		dsn, err := config.dsn()
		if err != nil {
			return nil, err
		}
		return NewPostgres(ctx, dsn)
	default:
		return nil, nil //nolint:nilnil // no log is no error
	}
}

// OpenRedemptions returns the redemptions beside the log of a configuration; nil for
// EngineOff. It does not connect to them.
func OpenRedemptions(ctx context.Context, config Config) (Redemptions, error) { //nolint:ireturn // as Open
	switch config.Engine {
	case EngineFile:
		return NewFileRedemptions(config.File), nil
	case EnginePostgres:
		dsn, err := config.dsn()
		if err != nil {
			return nil, err
		}
		return NewPostgresRedemptions(ctx, dsn)
	default:
		return nil, nil //nolint:nilnil // as Open
	}
}

// Init makes the log of a configuration and the redemptions beside it, where there
// are none.
func Init(ctx context.Context, config Config) error {
	switch config.Engine {
	case EngineFile:
		if err := errors.Join(InitFile(ctx, config.File), NewFileRedemptions(config.File).init(ctx)); err != nil {
			return fmt.Errorf("making the revocation log: %w", err)
		}
		return nil
	case EnginePostgres:
		dsn, err := config.dsn()
		if err != nil {
			return err
		}
		return InitPostgres(ctx, dsn)
	default:
		return nil
	}
}

// CopyFile adds what is in force in the log in a file, and what has been redeemed, to
// that of a configuration, which must be in PostgreSQL. It returns how many
// revocations that was.
func CopyFile(ctx context.Context, path string, config Config) (added int, err error) {
	file := NewFile(path)
	defer file.Close()
	page, err := file.Read(ctx, Position{})
	if err != nil {
		return 0, err
	}
	dsn, err := config.dsn()
	if err != nil {
		return 0, err
	}
	table, err := NewPostgres(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer table.Close()
	if added, err = table.Copy(ctx, page.Records); err != nil {
		return 0, err
	}
	return added, copyRedemptions(ctx, path, dsn)
}

func (c Config) dsn() (PostgresConfig, error) {
	dsn, err := secret.ReadFile(c.DSNFile)
	if err != nil {
		return PostgresConfig{}, fmt.Errorf("CUSTOMERSESSION_REVOCATIONS_DSN_FILE: %w", err)
	}
	return PostgresConfig{DSN: dsn, Insecure: c.DSNInsecure}, nil
}
