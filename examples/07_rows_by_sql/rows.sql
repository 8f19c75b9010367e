-- A module, typed in by SQL: two sources and the job row, whose transformation_config holds the job's settings.
INSERT INTO main.examples.etl_control VALUES
  ('__job__', 'rows_by_sql', 'job', 0, NULL, NULL,
   '{"schedule": {"quartz_cron_expression": "0 0 4 * * ?", "timezone_id": "UTC", "pause_status": "PAUSED"}, "tags": {"team": "sales"}}', true),
  ('extract', 'rows_by_sql', 'sql', 1, NULL, NULL,
   '{"task_type": "sql_query", "sql_task": {"warehouse_id": "local", "sql_query": "SELECT 1 AS extracted"}}', true),
  ('publish', 'rows_by_sql', 'sql', 2, NULL, NULL,
   '{"task_type": "sql_query", "sql_task": {"warehouse_id": "local", "sql_query": "SELECT 2 AS published"}}', true);
-- Settings of the whole control table: the settings row.
INSERT INTO main.examples.etl_control VALUES
  ('__settings__', '__control__', 'settings', 0, NULL, NULL, '{"drift": "report", "default_pause_status": "PAUSED"}', true);
-- A source is taken out of its job by is_active; its row stays.
UPDATE main.examples.etl_control SET is_active = false WHERE module_name = 'rows_by_sql' AND source_id = 'publish';
