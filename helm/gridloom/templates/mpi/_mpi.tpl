{{- define "gridloom.mpi.settings" -}}
{{ include "gridloom.commonSettings" (dict "root" . "service" "mpi") }}
GRIDLOOM_MPI_WORKER_IMAGES: {{ include "gridloom.workerImages" . | quote }}
{{- include "gridloom.ownSettings" (dict "service" "mpi" "settings" .Values.mpi.settings) }}
{{- end -}}
