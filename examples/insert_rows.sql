-- Way 2: a row in the control table is a task of a job. Two rows make a module of two stages.
INSERT INTO main.examples.etl_control VALUES
  ('count_regions', 'from_sql', 'sql', 1, '{}', '{}',
   '{"task_type": "sql_query", "sql_task": {"warehouse_id": "local", "sql_query": "SELECT count(*) AS catalogs FROM VALUES (1), (2) AS t(x)"}}',
   true),
  ('say_done', 'from_sql', 'sql', 2, '{}', '{}',
   '{"task_type": "sql_query", "sql_task": {"warehouse_id": "local", "sql_query": "SELECT :word AS word", "parameters": {"word": "done"}}}',
   true);
