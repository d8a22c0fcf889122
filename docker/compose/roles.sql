-- The game's database and its two roles, as roles/postgres makes them. At each start: a first one that stopped in the middle is mended.
\set ON_ERROR_STOP on
\getenv owner_password OWNER_PASSWORD
\getenv app_password APP_PASSWORD

SELECT format('CREATE ROLE %I LOGIN', name) FROM (VALUES ('matchpoint_owner'), ('matchpoint_app')) AS wanted (name)
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE matchpoint_owner PASSWORD :'owner_password';
ALTER ROLE matchpoint_app PASSWORD :'app_password';

SELECT 'CREATE DATABASE matchpoint OWNER matchpoint_owner'
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'matchpoint') \gexec
\connect matchpoint
-- The app reads and writes rows, and changes no table
ALTER DEFAULT PRIVILEGES FOR ROLE matchpoint_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO matchpoint_app;
ALTER DEFAULT PRIVILEGES FOR ROLE matchpoint_owner GRANT USAGE, SELECT ON SEQUENCES TO matchpoint_app;
