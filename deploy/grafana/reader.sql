-- The role that dashboards read with: the public tables and nothing else. Run it again after an upgrade:
--     psql "$QUERYSCOPE_DATABASE_URL" --set=ON_ERROR_STOP=1 --set=password=... --file=deploy/grafana/reader.sql
SELECT 'CREATE ROLE queryscope_reader LOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'queryscope_reader') \gexec
ALTER ROLE queryscope_reader PASSWORD :'password';
ALTER ROLE queryscope_reader SET default_transaction_read_only = on;
ALTER ROLE queryscope_reader SET statement_timeout = '30s';
GRANT SELECT ON runs, run_timeline, sla_results, diagnoses TO queryscope_reader;
