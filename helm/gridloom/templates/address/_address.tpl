{{/* Which service answers for which gRPC services. Health and reflection are the scheduler's: it is what clients meet first. */}}
{{- define "gridloom.grpcServices" -}}
scheduler:
  - gridloom.api.scheduler.v1.SchedulerService
  - gridloom.api.scheduler.v1.AccessService
  - grpc.health.v1.Health
  - grpc.reflection.v1alpha.ServerReflection
functions:
  - gridloom.api.functions.v1.FunctionsService
objects:
  - gridloom.api.objects.v1.ObjectsService
mpi:
  - gridloom.api.mpi.v1.MpiService
{{- end -}}
