{{- define "gridloom.objects.storeUrl" -}}
{{- .Values.objects.store.url | default "file:///var/lib/gridloom/objects" -}}
{{- end -}}

{{- define "gridloom.objects.settings" -}}
{{ include "gridloom.commonSettings" (dict "root" . "service" "objects") }}
GRIDLOOM_OBJECTS_STORE_URL: {{ include "gridloom.objects.storeUrl" . | quote }}
{{- include "gridloom.ownSettings" (dict "service" "objects" "settings" .Values.objects.settings) }}
{{- end -}}

{{/* Where the payloads lie, unless the store is somewhere else. */}}
{{- define "gridloom.objects.claim" -}}
{{- $volume := .Values.objects.store.volume -}}
{{- if and $volume.persistent (not .Values.objects.store.url) -}}
{{- $volume.existingClaim | default (printf "%s-objects" (include "gridloom.fullname" .)) -}}
{{- end -}}
{{- end -}}

{{- define "gridloom.objects.volumes" -}}
{{- if not .Values.objects.store.url }}
- name: payloads
  {{- with include "gridloom.objects.claim" . }}
  persistentVolumeClaim:
    claimName: {{ . }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "gridloom.objects.mounts" -}}
{{- if not .Values.objects.store.url }}
- {name: payloads, mountPath: /var/lib/gridloom}
{{- end }}
{{- end -}}
