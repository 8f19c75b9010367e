# The monitor with Terraform: schema, volume, wheel and job. Build the wheel first (`make wheel`).
terraform {
  required_providers {
    databricks = {
      source  = "databricks/databricks"
      version = ">= 1.90"
    }
  }
}

variable "catalog" {
  type    = string
  default = "main"
}

variable "schema" {
  type    = string
  default = "examples"
}

variable "wheel" {
  description = "Path of the wheel on this machine."
  type        = string
  default     = "../../dist/lakeflow_job_meta-0.1.0-py3-none-any.whl"
}

resource "databricks_schema" "control" {
  catalog_name = var.catalog
  name         = var.schema
  comment      = "Control table of lakeflow_job_meta and what lies beside it"
}

resource "databricks_volume" "metadata" {
  catalog_name = var.catalog
  schema_name  = databricks_schema.control.name
  name         = "metadata"
  volume_type  = "MANAGED"
}

resource "databricks_volume" "packages" {
  catalog_name = var.catalog
  schema_name  = databricks_schema.control.name
  name         = "packages"
  volume_type  = "MANAGED"
}

resource "databricks_file" "wheel" {
  source = var.wheel
  path   = "${databricks_volume.packages.volume_path}/${basename(var.wheel)}"
}

resource "databricks_job" "monitor" {
  name                = "lakeflow-job-meta monitor"
  description         = "Keeps the jobs equal to the control table and to the YAML files in the volume."
  max_concurrent_runs = 1

  continuous {
    pause_status = "UNPAUSED"
  }

  task {
    task_key        = "monitor"
    environment_key = "monitor"

    python_wheel_task {
      package_name = "lakeflow_job_meta"
      entry_point  = "lakeflow-job-meta-monitor"
      named_parameters = {
        control_table          = "${var.catalog}.${var.schema}.etl_control"
        volume_path            = databricks_volume.metadata.volume_path
        check_interval_seconds = "60"
      }
    }
  }

  environment {
    environment_key = "monitor"

    spec {
      environment_version = "4"
      dependencies        = [databricks_file.wheel.path]
    }
  }
}

output "monitor_job_url" {
  value = databricks_job.monitor.url
}
