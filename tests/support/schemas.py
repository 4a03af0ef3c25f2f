"""Write `migrations/head.sql` of every service anew: `make schemas`, after tables have changed."""

from importlib import import_module

from gridloom_services.common.schema import head_statements

SCHEMAS = {
    "objects": "gridloom_services.objects.schema",
    "scheduler": "gridloom_services.scheduler.store.schema",
    "functions": "gridloom_services.functions.store.schema",
}


def schema_of(service):
    return import_module(SCHEMAS[service]).SCHEMA


def main():
    for service in SCHEMAS:
        schema = schema_of(service)
        schema.head_file.write_text(head_statements(schema), "utf-8")


if __name__ == "__main__":
    main()
